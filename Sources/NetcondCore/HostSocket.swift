internal import Glibc
internal import LwipGlue

/// A stream socket of the host's that stands behind an intercepted one, which then has no connection in the stack.
///
/// Made by a connect to a destination outside the network, by a bind to an address of the host's, or by an accept on such
/// a listener. It is blocking, because the ring waits by itself; only the connect is called directly, without waiting, so
/// that what Linux says at once (ENETUNREACH, EACCES, …) is said at once.
final class HostSocket {
  /// The ring's operations besides those of the relay.
  enum Operation {
    static let connect: UInt8 = 16, accept: UInt8 = 17
  }

  let fd: Int32
  let isV6: Bool
  /// bind() made it: it stays when a connect is refused at once.
  var isBound = false
  /// The connect's outcome is waited for.
  var isConnecting = false
  var isAccepting = false
  /// Stands while connected.
  var relay: HostRelay?

  /// - Parameter fd: a stream socket of the internet families; owned from here on.
  init(owning fd: Int32, isV6: Bool) {
    self.fd = fd
    self.isV6 = isV6
  }

  deinit { close(fd) }

  /// Operations are under way, which need the descriptor.
  var isBusy: Bool { isConnecting || isAccepting || relay?.isBusy == true }

  /// Begins a connect. Returns 0, or the errno that Linux tells at once.
  func beginConnect(to remote: Endpoint) -> Int32 {
    let flags = fcntl(fd, F_GETFL)
    _ = fcntl(fd, F_SETFL, flags | O_NONBLOCK)
    defer { _ = fcntl(fd, F_SETFL, flags) }
    let status = HostAddress.with(remote) { connect(fd, $0, $1) }
    return status == 0 || errno == EINPROGRESS ? 0 : errno
  }

  /// SO_ERROR, which it clears.
  func takeError() -> Int32 {
    var error: Int32 = 0
    var length = socklen_t(MemoryLayout<Int32>.size)
    return getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length) == 0 ? error : errno
  }

  /// Bytes that the peer has not acknowledged, or that the relay holds; and of those the ones not sent at all (tcp(7),
  /// SIOCOUTQ, SIOCOUTQNSD).
  var queuedBytes: (all: Int32, unsent: Int32) {
    var (all, unsent): (Int32, Int32) = (0, 0)
    _ = ioctl(fd, 0x5411, &all)
    _ = ioctl(fd, 0x894b, &unsent)
    let held = Int32(clamping: relay?.heldBytes ?? 0)
    return (all + held, unsent + held)
  }

  /// The close is to send RST (socket(7), SO_LINGER).
  func resetOnClose() {
    var abort = linger(l_onoff: 1, l_linger: 0)
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &abort, socklen_t(MemoryLayout<linger>.size))
  }
}
