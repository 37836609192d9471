import Frames
import Glibc
import Links
import Testing

/// A wire that notes what is sent on it, and brings what the test puts on it.
final class TestWire: Link {
  let name = "test:wire"
  var facts = LinkFacts(mtu: 1500, offloads: .all, isUp: true)
  var counters = LinkCounters()
  /// Frames it takes before it is full.
  var room = Int.max
  /// What was sent: the frames themselves, which are kept, and what was in them.
  private(set) var frames: [Frame] = []
  private(set) var sent: [Packet] = []
  private(set) var delegate: (any LinkDelegate)?
  private(set) var isStopped = false

  func start(_ context: LinkContext, delegate: any LinkDelegate) { self.delegate = delegate }

  func transmit(_ frame: Frame) -> Bool {
    guard delegate != nil, room > 0 else { return false }
    room -= 1
    frame.retain()
    frames.append(frame)
    sent.append(Packet(frame))
    return true
  }

  func stop() { isStopped = true }

  func receive(_ frame: Frame) { delegate?.link(self, received: frame) }

  /// Gives back what is kept.
  func finishSending() {
    for frame in frames { frame.release() }
    frames = []
  }

  func takeSent() -> [Packet] {
    defer { sent = [] }
    return sent
  }
}

/// A frame's content when it passed.
struct Packet: Equatable {
  let bytes: [UInt8]
  let offload: OffloadHeader
  let isExclusive: Bool
  let frameIndex: Int
  let pieceCount: Int

  init(_ frame: Frame) {
    bytes = (0..<frame.count).flatMap {
      Array(UnsafeRawBufferPointer(start: frame.vectors[$0].iov_base, count: frame.vectors[$0].iov_len))
    }
    offload = frame.offload
    isExclusive = frame.isExclusive
    frameIndex = frame.index
    pieceCount = frame.count
  }

  var text: String { String(decoding: bytes.dropFirst(14), as: UTF8.self) }

  /// The packets that a wire would carry, cut and finished by `TCPPacket`.
  func onWire(extensionHeader: Bool = false) -> [[UInt8]] {
    guard offload.flags & OffloadHeader.needsChecksum != 0 else { return [bytes] }
    let packet = TCPPacket(reading: bytes, extensionHeader: extensionHeader)
    return packet.segments(of: offload.segmentation != 0 ? Int(offload.segmentBytes) : 65_536)
  }
}

/// An impaired link between a test wire and a listener, with a clock that the test sets.
final class ImpairedStage {
  final class Clock { var now: UInt64 = 1_000_000_000 }

  let loop: Loop
  let wire = TestWire()
  let listener = PacketListener()
  let clock = Clock()
  let link: ImpairedLink
  let maker: FrameMaker
  private var knownDeadline: UInt64?

  init(inbound: Impairment? = nil, outbound: Impairment? = nil) throws {
    loop = try Loop(bufferCount: 4)
    maker = FrameMaker(loop.frames)
    link = ImpairedLink(wire, inbound: inbound, outbound: outbound) { [clock] in clock.now }
    link.start(loop.context(0), delegate: listener)
  }

  /// Sends a frame of the experimental EtherType.
  @discardableResult
  func send(_ text: String) throws -> Bool {
    let frame = try maker.make(to: .host(1), from: .host(2), text)
    defer { frame.release() }
    return link.transmit(frame)
  }

  /// Sends a TCP packet in pieces: headers first, then `pieceBytes` of payload each.
  @discardableResult
  func send(_ packet: TCPPacket, segmentBytes: Int, pieceBytes: Int = 65_536) throws -> Bool {
    let frame = try frame(packet, segmentBytes: segmentBytes, pieceBytes: pieceBytes)
    defer { frame.release() }
    return link.transmit(frame)
  }

  /// The wire brings a TCP packet.
  func receive(_ packet: TCPPacket, segmentBytes: Int) throws {
    let frame = try frame(packet, segmentBytes: segmentBytes, pieceBytes: 65_536)
    frame.isExclusive = true
    wire.receive(frame)
    frame.release()
  }

  private func frame(_ packet: TCPPacket, segmentBytes: Int, pieceBytes: Int) throws -> Frame {
    let bytes = packet.bytes(completeChecksum: false)
    let frame = try maker.make(bytes, firstPiece: bytes.count - packet.payload.count, pieceBytes: pieceBytes)
    frame.offload = packet.offload(segmentBytes: segmentBytes)
    return frame
  }

  /// Lets time pass, waking the link as its deadlines ask.
  func pass(_ nanoseconds: UInt64) {
    let end = clock.now + nanoseconds
    if link.deadline != knownDeadline { #expect(loop.attention.take(), "nobody would ask for the deadline") }
    defer { knownDeadline = link.deadline }
    while let deadline = link.deadline, deadline <= end {
      clock.now = max(clock.now, deadline)
      link.expire(now: clock.now)
    }
    clock.now = end
  }
}

/// A network that keeps the content of what it is given.
final class PacketListener: LinkDelegate {
  var received: [Packet] = []
  var readyCount = 0
  var changeCount = 0
  var linkName = ""

  func link(_ link: any Link, received frame: Frame) {
    linkName = link.name
    received.append(Packet(frame))
  }
  func linkChanged(_ link: any Link) { changeCount += 1 }
  func linkReady(_ link: any Link) { readyCount += 1 }
}

extension Impairment {
  static func with(seed: UInt64 = 1, _ change: (inout Impairment) -> Void) -> Impairment {
    var impairment = Impairment()
    impairment.seed = seed
    change(&impairment)
    return impairment
  }
}
