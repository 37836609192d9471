import Frames
import Links
import Testing

private let millisecond: UInt64 = 1_000_000

/// A kind of packet, for tests of all.
struct PacketKind: Sendable, CustomTestStringConvertible {
  let isV6: Bool
  var extensionHeader = false
  var testDescription: String { isV6 ? (extensionHeader ? "IPv6 with an extension header" : "IPv6") : "IPv4" }

  func packet(_ count: Int) -> TCPPacket {
    var packet = TCPPacket(isV6: isV6, payload: (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 7 &+ $0 >> 8) })
    packet.extensionHeader = extensionHeader
    if isV6 { packet.identification = 0 }
    return packet
  }

  static let all = [PacketKind(isV6: false), PacketKind(isV6: true), PacketKind(isV6: true, extensionHeader: true)]
}

/// Which bits of two packets are not alike.
private func differingBits(_ one: [UInt8], _ other: [UInt8]) -> [Int] {
  var bits: [Int] = []
  for index in one.indices where one[index] != other[index] {
    let difference = one[index] ^ other[index]
    for bit in 0..<8 where difference >> UInt8(bit) & 1 != 0 { bits.append(index * 8 + bit) }
  }
  return bits
}

/// Super-segments meet their fate packet by packet, and spoilt packets are known by their checksums.
@Suite(.enabled(if: ringIsAvailable, "io_uring is not available here"))
struct ImpairedPacketTests {
  @Test(arguments: PacketKind.all, [1, 999, 1000, 1001, 1999, 2000, 43_999, 60_000])
  func `what is left of a super-segment is what a wire would carry`(kind: PacketKind, count: Int) throws {
    let stage = try ImpairedStage(outbound: .with { $0.loss = 0.1 })
    var expected = 0
    for round in 0..<20 {
      var packet = kind.packet(count)
      packet.sequence &+= UInt32(round * 100_000)
      let segments = packet.segments(of: 1000)
      let lost = stage.link.outboundCounters?.lost ?? 0
      try stage.send(packet, segmentBytes: 1000, pieceBytes: [65_536, 4096, 700][round % 3])
      let sent = stage.wire.takeSent()
      let arrived = sent.flatMap { $0.onWire(extensionHeader: kind.extensionHeader) }
      let lostNow = Int((stage.link.outboundCounters?.lost ?? 0) - lost)
      #expect(arrived.count == segments.count - lostNow)
      // All of them are the original's, in order, byte for byte: headers, numbers, flags and sums.
      #expect(segments.filter { arrived.contains($0) } == arrived)
      #expect(sent.count <= lostNow + 1, "cut only where something is missing")
      for packet in sent where packet.offload.segmentation == 0 {
        #expect(packet.offload.flags == OffloadHeader.needsChecksum)
      }
      expected += segments.count
      stage.wire.finishSending()
    }
    #expect(stage.link.outboundCounters?.packets == UInt64(expected))
    #expect(stage.loop.frames.liveCount == 0)
    #expect(stage.maker.releasedCount == 20)
  }

  @Test(arguments: PacketKind.all)
  func `the pseudo-header's sum of each part is right`(kind: PacketKind) throws {
    let stage = try ImpairedStage(outbound: .with { $0.loss = 0.2 })
    try stage.send(kind.packet(60_000), segmentBytes: 1000)
    for part in stage.wire.takeSent() {
      let packet = TCPPacket(reading: part.bytes, extensionHeader: kind.extensionHeader)
      let whole = packet.bytes(completeChecksum: false)
      #expect(part.bytes == whole, "IP's length and checksum, TCP's pseudo-header")
      #expect(part.offload == packet.offload(segmentBytes: 1000))
    }
  }

  @Test func `parts that leave together leave in one frame`() throws {
    let impairment = Impairment.with { ($0.bitsPerSecond, $0.delayNanoseconds) = (1_000_000_000, millisecond) }
    let stage = try ImpairedStage(outbound: impairment)
    let packet = PacketKind.all[0].packet(44_000)
    try stage.send(packet, segmentBytes: 1000)
    stage.clock.now += millisecond + 100_000
    stage.link.expire(now: stage.clock.now)
    #expect(stage.wire.sent.count == 1)
    stage.clock.now += millisecond
    stage.link.expire(now: stage.clock.now)
    #expect(stage.wire.sent.count == 2)
    #expect(stage.wire.takeSent().flatMap { $0.onWire() } == packet.segments(of: 1000))
    stage.wire.finishSending()
    #expect(stage.loop.frames.liveCount == 0)
  }

  @Test func `a received super-segment that is doubled belongs to nobody alone`() throws {
    let stage = try ImpairedStage(inbound: .with { $0.duplicate = 1 })
    let packet = PacketKind.all[0].packet(3000)
    try stage.receive(packet, segmentBytes: 1000)
    #expect(stage.listener.received.allSatisfy { !$0.isExclusive })
    let segments = packet.segments(of: 1000)
    #expect(stage.listener.received.flatMap { $0.onWire() } == segments.flatMap { [$0, $0] })
    #expect(stage.loop.frames.liveCount == 0)
  }

  @Test func `a part of too many pieces is copied`() throws {
    let stage = try ImpairedStage(outbound: .with { $0.loss = 0.02 })
    // 128 pieces, as many as there may be: the first with headers and payload, the last with an end of the last but one
    // segment. Without the last segment they are 129 with the headers of their own.
    let packet = PacketKind.all[0].packet(100 + 127 * 237)
    let segments = packet.segments(of: 1000)
    let bytes = packet.bytes(completeChecksum: false)
    var isCopied = false
    for _ in 0..<2000 where !isCopied {
      let frame = try stage.maker.make(bytes, firstPiece: bytes.count - 127 * 237, pieceBytes: 237)
      frame.offload = packet.offload(segmentBytes: 1000)
      #expect(stage.link.transmit(frame))
      frame.release()
      let sent = stage.wire.takeSent()
      isCopied = sent.count == 1 && sent[0].onWire() == Array(segments.dropLast())
      if isCopied { #expect(sent[0].pieceCount == 1) }
      stage.wire.finishSending()
    }
    #expect(isCopied)
    #expect(stage.loop.frames.liveCount == 0)
  }

  // MARK: Corruption

  @Test(arguments: PacketKind.all.prefix(2), [1, 5, 100, 5000])
  func `a spoilt packet differs in one bit, and its checksum tells`(kind: PacketKind, count: Int) throws {
    let stage = try ImpairedStage(inbound: .with { $0.corrupt = 1 })
    let segments = kind.packet(count).segments(of: 1000)
    var bits: Set<Int> = []
    for _ in 0..<200 {
      try stage.receive(kind.packet(count), segmentBytes: 1000)
      #expect(stage.listener.received.count == segments.count)
      for (packet, segment) in zip(stage.listener.received, segments) {
        #expect(packet.offload == OffloadHeader(), "nobody vouches for it, and nothing is left to do")
        #expect(checksumsAreRight(segment))
        #expect(!checksumsAreRight(packet.bytes))
        let differing = differingBits(packet.bytes, segment)
        #expect(packet.bytes.count == segment.count && differing.count == 1)
        bits.formUnion(differing)
      }
      stage.listener.received = []
    }
    #expect(bits.count > 100, "anywhere in the packet")
    #expect(bits.min()! >= 14 * 8, "but not in Ethernet's header")
    #expect(stage.loop.frames.liveCount == 0)
    #expect(stage.link.inboundCounters?.corrupted == UInt64(200 * segments.count))
  }

  @Test func `spoilt and sound parts of a super-segment keep their order`() throws {
    let stage = try ImpairedStage(
      outbound: .with { ($0.corrupt, $0.delayNanoseconds) = (0.1, millisecond) })
    let packet = PacketKind.all[0].packet(60_000)
    try stage.send(packet, segmentBytes: 1000)
    stage.pass(millisecond)
    let arrived = stage.wire.takeSent().flatMap { $0.onWire() }
    let segments = packet.segments(of: 1000)
    #expect(arrived.count == 60)
    let different = zip(arrived, segments).filter { $0 != $1 }
    #expect(different.count == Int(stage.link.outboundCounters?.corrupted ?? 0) && !different.isEmpty)
    #expect(different.allSatisfy { !checksumsAreRight($0.0) })
  }

  @Test func `what has no checksum is not spoilt`() throws {
    let stage = try ImpairedStage(outbound: .with { $0.corrupt = 1 })
    try stage.send("of no IP packet, and long enough to be one all the same, as its length tells")
    #expect(
      stage.wire.takeSent().map(\.text) == [
        "of no IP packet, and long enough to be one all the same, as its length tells"
      ])
    #expect(stage.link.outboundCounters?.corrupted == 0)
  }

  @Test func `padding behind a packet is not where a bit flips`() throws {
    let stage = try ImpairedStage(outbound: .with { $0.corrupt = 1 })
    let bytes = PacketKind.all[0].packet(1).bytes() + [UInt8](repeating: 0, count: 2000)
    for _ in 0..<100 {
      let frame = try stage.maker.make(bytes, firstPiece: bytes.count, pieceBytes: 1)
      #expect(stage.link.transmit(frame))
      frame.release()
    }
    #expect(stage.wire.takeSent().allSatisfy { $0.bytes.suffix(2000).allSatisfy { $0 == 0 } })
  }
}
