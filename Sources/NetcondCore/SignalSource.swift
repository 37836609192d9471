internal import CSignal
internal import Glibc
internal import UringLoop

/// Signals as completions (signalfd(2)): they are handled between turns, never inside one.
final class SignalSource {
  private let fd: Int32
  private let buffer: UnsafeMutableRawBufferPointer

  /// Blocks `signals` for the process and takes them by descriptor; SIGPIPE is ignored.
  init(_ signals: [Int32]) throws(HomeError) {
    var set = sigset_t()
    sigemptyset(&set)
    for signal in signals { sigaddset(&set, signal) }
    pthread_sigmask(SIG_BLOCK, &set, nil)
    signal(SIGPIPE, SIG_IGN)
    fd = nc_signalfd(&set)
    guard fd >= 0 else { throw HomeError(description: "signalfd: \(String(cString: strerror(errno)))") }
    buffer = .allocate(byteCount: nc_signalfd_info_bytes(), alignment: 8)
  }

  deinit {
    close(fd)
    buffer.deallocate()
  }

  func arm(_ ring: Ring, token: Token) { ring.prepareRead(fd, into: buffer, token: token) }

  /// The number of the signal that the last completed read brought.
  func take() -> Int32? { Int32(buffer.loadUnaligned(as: UInt32.self)) }
}
