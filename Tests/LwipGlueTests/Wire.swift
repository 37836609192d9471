import Frames
import Glibc
import Links
import LwipGlue
import Testing
import UringLoop

/// Seeded, so that a failure happens again (SplitMix64).
struct SeededGenerator: RandomNumberGenerator {
  private var state: UInt64
  init(_ seed: UInt64) { state = seed }
  mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var z = state
    z = (z ^ z >> 30) &* 0xbf58_476d_1ce4_e5b9
    z = (z ^ z >> 27) &* 0x94d0_49bb_1331_11eb
    return z ^ z >> 31
  }
  /// True `percent` times in a hundred.
  mutating func happens(_ percent: Int) -> Bool { percent > 0 && Int(next() % 100) < percent }
}

/// What the hosts of a test are joined by.
protocol Medium: AnyObject {
  var keepsFrames: Bool { get }
  /// Whether interfaces may leave checksums and segmentation to it.
  var offloads: Bool { get }
  func attach(_ host: Host)
  func transmit(_ frame: Frame, from port: Int) -> Bool
  /// Delivers what is due at `now`.
  func deliver(now: UInt64)
  /// When there is something to deliver; nil for never.
  var nextDue: UInt64? { get }
  /// Frames delivered, so that a test notices when there is no end of them.
  var deliveredCount: Int { get }
  /// Drops what is under way.
  func clear()
}

/// What goes wrong with a frame, in percent.
struct Faults {
  var loss = 0
  var duplication = 0
  var reordering = 0
  var corruption = 0
  var seed: UInt64 = 1
  static let none = Faults()
}

/// A wire in the test's hands: it keeps copies, as the kernel does, delivers after a delay, and spoils what it is told to.
final class Wire: Medium, FrameSource {
  enum Style: String, CaseIterable, Sendable, CustomTestStringConvertible {
    /// Two TAPs joined in one kernel: partial sums and super-segments arrive as they left.
    case bridge
    /// A network card: it finishes sums and cuts super-segments; the receiver verifies.
    case card
    /// No offload: what leaves must be complete, and fit the MTU.
    case plain
    var testDescription: String { rawValue }
  }

  private struct Entry {
    let due: UInt64
    let frame: WireFrame
  }

  let style: Style
  var faults: Faults { didSet { generator = SeededGenerator(faults.seed) } }
  private var generator = SeededGenerator(1)
  /// One way, in nanoseconds.
  var delayNanoseconds: UInt64 = 100_000
  /// How fast it is, each way, and how much waits for it before frames are dropped; 0: as fast as can be.
  var bitsPerSecond: UInt64 = 0
  var queueBytes = 1_000_000
  private var busyUntil: [Int: UInt64] = [:]
  /// Every frame that was sent, before anything happened to it, if wanted.
  var isCapturing = false
  private(set) var captured: [WireFrame] = []
  /// Frames to refuse, as a full link does.
  var refusals = 0
  /// Tells of frames that vanish.
  var swallows: (WireFrame) -> Bool = { _ in false }
  /// Changes what hosts sent, as a box on the way might.
  var alters: (inout WireFrame) -> Void = { _ in }
  private(set) var lostCount = 0
  private(set) var deliveredCount = 0
  /// Buffers handed to the stack that have not come back.
  private(set) var lentBuffers = 0
  private var entries: [Entry] = []
  private var first = 0
  private var hosts: [Host] = []
  private let frames: FramePool
  private var now: UInt64 = 0

  let isScarce = false
  let keepsFrames = false
  var offloads: Bool { style != .plain }

  init(_ style: Style, frames: FramePool, faults: Faults = .none) {
    self.style = style
    self.frames = frames
    self.faults = faults
    generator = SeededGenerator(faults.seed)
  }

  func attach(_ host: Host) { hosts.append(host) }

  func transmit(_ frame: Frame, from port: Int) -> Bool {
    guard refusals == 0 else {
      refusals -= 1
      return false
    }
    var bytes: [UInt8] = []
    bytes.reserveCapacity(frame.bytes)
    for index in 0..<frame.count {
      bytes.append(
        contentsOf: UnsafeRawBufferPointer(start: frame.vectors[index].iov_base, count: frame.vectors[index].iov_len))
    }
    var whole = WireFrame(bytes: bytes, offload: frame.offload, origin: port, time: now)
    if isCapturing { captured.append(whole) }
    alters(&whole)
    for piece in style == .card ? whole.segmented() : [whole] { carry(piece) }
    return true
  }

  /// Puts a frame on the wire as if a host had sent it.
  func inject(_ frame: WireFrame) { insert(Entry(due: now + delayNanoseconds, frame: frame)) }

  func takeCaptured() -> [WireFrame] {
    defer { captured = [] }
    return captured
  }

  private func carry(_ frame: WireFrame) {
    if swallows(frame) || generator.happens(faults.loss) {
      lostCount += 1
      return
    }
    var frame = frame
    if generator.happens(faults.corruption) {
      frame.bytes[Int(generator.next() % UInt64(frame.bytes.count))] ^= UInt8(1 << (generator.next() % 8))
    }
    var left = now
    if bitsPerSecond > 0 {
      left = max(now, busyUntil[frame.origin] ?? 0)
      if Int((left - now) * bitsPerSecond / 8_000_000_000) > queueBytes {
        lostCount += 1
        return
      }
      left += UInt64(frame.bytes.count + 24) * 8_000_000_000 / bitsPerSecond
      busyUntil[frame.origin] = left
    }
    var due = left + delayNanoseconds
    if generator.happens(faults.reordering) { due += generator.next() % (20 * delayNanoseconds) }
    insert(Entry(due: due, frame: frame))
    if generator.happens(faults.duplication) { insert(Entry(due: due, frame: frame)) }
  }

  private func insert(_ entry: Entry) {
    var index = entries.count
    while index > first, entries[index - 1].due > entry.due { index -= 1 }
    entries.insert(entry, at: index)
  }

  var nextDue: UInt64? { first < entries.count ? entries[first].due : nil }

  func deliver(now: UInt64) {
    self.now = now
    while let due = nextDue, due <= now {
      let frame = entries[first].frame
      first += 1
      deliveredCount += 1
      if first > 512 {
        entries.removeFirst(first)
        first = 0
      }
      if frame.bytes.count < 14 { continue }
      let target = hosts.first { $0.interface.mac == frame.destination }
      for host in target.map({ [$0] }) ?? hosts where host.port != frame.origin { hand(frame, to: host) }
    }
  }

  /// Gives a host the frame in a buffer of its own, as a TAP's read does.
  func hand(_ wire: WireFrame, to host: Host) {
    guard let frame = frames.make(source: self) else { return }
    let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: max(1, wire.bytes.count), alignment: 16)
    memory.copyBytes(from: wire.bytes)
    lentBuffers += 1
    frame.context = memory.baseAddress
    frame.isExclusive = true
    frame.offload = wire.offload
    _ = frame.append(memory.baseAddress!, count: wire.bytes.count)
    host.interface.receive(frame)
    frame.release()
  }

  func frameReleased(_ frame: Frame) {
    frame.context?.deallocate()
    lentBuffers -= 1
  }

  func clear() {
    entries = []
    first = 0
  }
}

/// A `Hub` as the medium: frames are shared with the sender's memory, not copied.
final class HubMedium: Medium {
  private let hub = Hub(name: "test")
  private var ports: [HubPort] = []
  private let context: LinkContext
  let offloads = true
  let keepsFrames = true
  private(set) var deliveredCount = 0

  init(frames: FramePool) throws {
    let ring = try Ring(entries: 8)
    let pool = try BufferPool(ring: ring, group: 1, bufferBytes: 4096, count: 1, ringDepth: 1)
    context = LinkContext(
      ring: ring, receivePool: pool, frames: frames, kind: 1, number: 0, attention: LinkAttention())
  }

  func attach(_ host: Host) {
    let port = hub.makePort(mtu: 1500)
    port.start(context, delegate: host)
    ports.append(port)
  }

  func transmit(_ frame: Frame, from port: Int) -> Bool { ports[port].transmit(frame) }
  func deliver(now: UInt64) {
    deliveredCount += 1
    ports.first?.poll()
  }
  var nextDue: UInt64? { ports.first?.isPending == true ? 0 : nil }
  func clear() {
    for port in ports { port.stop() }
    while nextDue != nil { deliver(now: 0) }
  }
}
