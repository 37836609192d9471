internal import CEpoll
internal import CTun
internal import Glibc
internal import TestSupport

/// Two TAP devices joined by a wire that delays and loses: the same for every stack that is measured over it.
///
/// Theory of operation: a frame read from one device gets its fate (lost or not, by a seeded generator) and the time at
/// which it shall leave, and waits in a queue until then. One thread, ppoll(2) with the next time as its bound. On a wire
/// that loses, the devices grant no offload: the kernel cuts what comes into frames of the MTU, so that each packet has a
/// fate of its own. On one that only delays, frames of 64 KiB pass whole and the relay limits nobody.
struct Relay: ~Copyable {
  private struct Waiting {
    let due: Double
    let bytes: UnsafeMutableRawBufferPointer
  }

  /// One way: from one device to the other.
  private struct Way {
    let input: Int32
    let output: Int32
    var random: UInt64
    var queue: [Waiting] = []
    var head = 0
    var count: Int { queue.count - head }

    /// splitmix64 (Steele et al. 2014), as a fraction of 1.
    mutating func fraction() -> Double {
      random &+= 0x9e37_79b9_7f4a_7c15
      var mixed = random
      mixed = (mixed ^ (mixed >> 30)) &* 0xbf58_476d_1ce4_e5b9
      mixed = (mixed ^ (mixed >> 27)) &* 0x94d0_49bb_1331_11eb
      return Double((mixed ^ (mixed >> 31)) >> 11) * 0x1p-53
    }
  }

  /// Frames of one way: beyond, they are lost, as tc-netem's limit does. 64 MiB at an MTU of 1,500.
  private static let queueLimit = 44_000

  private let delaySeconds: Double
  private let loss: Double
  private var ways: [Way]
  private let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 17, alignment: 64)

  /// - Parameters:
  ///   - delaySeconds: one way.
  ///   - loss: the share of frames lost, each way.
  init(taps: (String, String), delaySeconds: Double, loss: Double, seed: UInt64) throws {
    self.delaySeconds = delaySeconds
    self.loss = loss
    let first = try Relay.open(taps.0, withOffloads: loss == 0)
    let second = try Relay.open(taps.1, withOffloads: loss == 0)
    ways = [Way(input: first, output: second, random: seed), Way(input: second, output: first, random: ~seed)]
  }

  private static func open(_ name: String, withOffloads: Bool) throws -> Int32 {
    let descriptor = Glibc.open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC)
    guard descriptor >= 0 else { throw SupportError.systemCall("open", "/dev/net/tun") }
    let offloads = withOffloads ? UInt32(TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6) : 0
    guard nc_tap_attach(descriptor, name) == 0, nc_tap_set_header_bytes(descriptor, 12) == 0,
      nc_tap_set_offload(descriptor, offloads) == 0
    else { throw SupportError.systemCall("ioctl", "tap \(name)") }
    return descriptor
  }

  /// Relays until the process is ended.
  mutating func run() throws -> Never {
    while true {
      let now = monotonicSeconds()
      var next = Double.infinity
      for index in ways.indices {
        Relay.deliver(&ways[index], until: now)
        if ways[index].count > 0 { next = min(next, ways[index].queue[ways[index].head].due) }
      }
      var waiting = ways.map { pollfd(fd: $0.input, events: Int16(POLLIN), revents: 0) }
      let left = max(0, next - monotonicSeconds())
      var bound = timespec(
        tv_sec: left.isFinite ? Int(left) : 3600, tv_nsec: left.isFinite ? Int((left - left.rounded(.down)) * 1e9) : 0)
      guard nc_ppoll(&waiting, 2, &bound) >= 0 || errno == EINTR else {
        throw SupportError.systemCall("ppoll", "the relay")
      }
      for index in ways.indices where waiting[index].revents != 0 {
        Relay.take(&ways[index], delaySeconds, loss, buffer)
      }
    }
  }

  /// Reads what has come, a bounded number so that the other way and what is due get their turn.
  private static func take(
    _ way: inout Way, _ delaySeconds: Double, _ loss: Double, _ buffer: UnsafeMutableRawBufferPointer
  ) {
    let now = monotonicSeconds()
    for _ in 0..<64 {
      let count = read(way.input, buffer.baseAddress, buffer.count)
      guard count > 0 else { return }
      guard way.fraction() >= loss, way.count < Relay.queueLimit else { continue }
      let bytes = UnsafeMutableRawBufferPointer.allocate(byteCount: count, alignment: 16)
      bytes.copyMemory(from: UnsafeRawBufferPointer(rebasing: buffer[..<count]))
      way.queue.append(Waiting(due: now + delaySeconds, bytes: bytes))
    }
  }

  private static func deliver(_ way: inout Way, until now: Double) {
    while way.count > 0, way.queue[way.head].due <= now {
      let bytes = way.queue[way.head].bytes
      _ = write(way.output, bytes.baseAddress, bytes.count)  // what the device does not take is lost, as on a wire
      bytes.deallocate()
      way.head += 1
    }
    if way.head > 4096, way.head * 2 > way.queue.count {
      way.queue.removeFirst(way.head)
      way.head = 0
    }
  }
}
