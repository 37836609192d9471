import Frames
import Links
import Testing

private let millisecond: UInt64 = 1_000_000

@Suite(.enabled(if: ringIsAvailable, "io_uring is not available here"))
struct ImpairedLinkTests {
  /// Sends `count` numbered frames at once; what came of them, in order.
  private func numbers(_ impairment: Impairment, count: Int, spacing: UInt64 = 0) throws -> [Int] {
    let stage = try ImpairedStage(outbound: impairment)
    for number in 0..<count {
      try stage.send("\(number)")
      stage.wire.finishSending()
      stage.pass(spacing)
    }
    stage.pass(60_000 * millisecond)
    stage.wire.finishSending()
    #expect(stage.loop.frames.liveCount == 0)
    return stage.wire.takeSent().compactMap { Int($0.text) }
  }

  @Test func `without impairments the very frames pass, at once, in both directions`() throws {
    let stage = try ImpairedStage(inbound: .with { _ in }, outbound: .with { _ in })
    let frame = try stage.maker.make(to: .host(1), from: .host(2), "out")
    #expect(stage.link.transmit(frame))
    #expect(stage.wire.takeSent().map(\.frameIndex) == [frame.index])
    frame.release()
    stage.wire.finishSending()
    try stage.receive(TCPPacket(payload: Array(repeating: 7, count: 20_000)), segmentBytes: 1400)
    #expect(stage.listener.received.count == 1)
    #expect(stage.listener.received[0].isExclusive)
    #expect(stage.listener.linkName == "test:wire")
    #expect(stage.link.deadline == nil)
    #expect(stage.loop.frames.liveCount == 0)
    #expect(stage.maker.releasedCount == 2)
  }

  @Test func `a direction that is not impaired has no part in it`() throws {
    let stage = try ImpairedStage(inbound: .with { $0.loss = 1 })
    try stage.send("passes")
    #expect(stage.wire.takeSent().map(\.text) == ["passes"])
    #expect(stage.link.outboundCounters == nil)
    try stage.receive(TCPPacket(payload: [1]), segmentBytes: 1400)
    #expect(stage.listener.received.isEmpty)
    #expect(stage.link.inboundCounters?.lost == 1)
    stage.wire.finishSending()
    #expect(stage.loop.frames.liveCount == 0)
  }

  // MARK: Loss and duplicates

  @Test(arguments: [0.001, 0.01, 0.05, 0.1, 0.5]) func `as many are lost as was asked for`(loss: Double) throws {
    let count = 20_000
    let arrived = try numbers(.with { $0.loss = loss }, count: count)
    let (expected, deviation) = (Double(count) * loss, (Double(count) * loss * (1 - loss)).squareRoot())
    #expect(abs(Double(count - arrived.count) - expected) < 5 * deviation)
    #expect(arrived == arrived.sorted())
  }

  @Test func `nothing and everything can be lost`() throws {
    #expect(try numbers(.with { $0.loss = 0 }, count: 1000) == Array(0..<1000))
    #expect(try numbers(.with { $0.loss = 1 }, count: 1000) == [])
  }

  @Test func `a seed makes a run repeatable, and another makes another`() throws {
    let impairment = Impairment.with(seed: 42) {
      ($0.loss, $0.duplicate, $0.reorder, $0.delayNanoseconds, $0.jitterNanoseconds) =
        (0.1, 0.1, 0.1, 5 * millisecond, 2 * millisecond)
    }
    let first = try numbers(impairment, count: 500, spacing: millisecond)
    #expect(try numbers(impairment, count: 500, spacing: millisecond) == first)
    var other = impairment
    other.seed = 43
    #expect(try numbers(other, count: 500, spacing: millisecond) != first)
  }

  @Test func `the two directions of one seed have fates of their own`() throws {
    let stage = try ImpairedStage(inbound: .with { $0.loss = 0.5 }, outbound: .with { $0.loss = 0.5 })
    var (sent, received): ([Int], [Int]) = ([], [])
    for number in 0..<200 {
      try stage.send(TCPPacket(payload: [1]), segmentBytes: 1400)
      if !stage.wire.takeSent().isEmpty { sent.append(number) }
      try stage.receive(TCPPacket(payload: [1]), segmentBytes: 1400)
      if !stage.listener.received.isEmpty { received.append(number) }
      stage.listener.received = []
      stage.wire.finishSending()
    }
    #expect(!sent.isEmpty && !received.isEmpty && sent != received)
  }

  @Test func `duplicates come twice, and may be lost each by itself`() throws {
    let arrived = try numbers(.with { $0.duplicate = 0.2 }, count: 10_000)
    #expect(abs(arrived.count - 12_000) < 5 * 40)
    #expect(Set(arrived) == Set(0..<10_000))
    #expect(arrived == arrived.sorted())
    let both = try numbers(.with { ($0.duplicate, $0.loss) = (1, 0.5) }, count: 10_000)
    #expect(abs(both.count - 10_000) < 5 * 71)
    #expect(abs(Set(both).count - 7_500) < 5 * 44)
  }

  // MARK: Time

  @Test func `a delay is exact, and keeps order`() throws {
    let stage = try ImpairedStage(outbound: .with { $0.delayNanoseconds = 20 * millisecond + 500 })
    for number in 0..<10 {
      try stage.send("\(number)")
      stage.clock.now += 100
    }
    #expect(stage.wire.sent.isEmpty)
    #expect(stage.link.deadline == 1_020_000_500)
    #expect(!stage.link.isPending, "the loop may sleep until then")
    stage.link.expire(now: 1_020_000_499)
    #expect(stage.wire.sent.isEmpty)
    stage.link.expire(now: 1_020_000_500)
    #expect(stage.wire.takeSent().map(\.text) == ["0"])
    stage.link.expire(now: 1_020_000_750)
    #expect(stage.wire.takeSent().map(\.text) == ["1", "2"])
    stage.pass(millisecond * 30)
    #expect(stage.wire.takeSent().map(\.text) == ["3", "4", "5", "6", "7", "8", "9"])
    #expect(stage.link.deadline == nil)
    #expect(stage.link.keepsFrames, "what waits must not be lwIP's own")
  }

  @Test func `jitter stays within its bounds and uses them`() throws {
    let impairment = Impairment.with {
      ($0.delayNanoseconds, $0.jitterNanoseconds) = (10 * millisecond, 4 * millisecond)
    }
    let stage = try ImpairedStage(inbound: impairment)
    var delays: [UInt64] = []
    for _ in 0..<2000 {
      let sent = stage.clock.now
      try stage.receive(TCPPacket(payload: [1, 2, 3]), segmentBytes: 1400)
      stage.pass(stage.link.deadline! - sent)
      delays.append(stage.clock.now - sent)
    }
    #expect(stage.listener.received.count == 2000)
    #expect(delays.min()! >= 6 * millisecond && delays.min()! < 6 * millisecond + 100_000)
    #expect(delays.max()! <= 14 * millisecond && delays.max()! > 14 * millisecond - 100_000)
    let mean = Double(delays.reduce(0, +)) / 2000
    #expect(abs(mean - 10e6) < 5 * 4e6 / 3.0.squareRoot() / 2000.0.squareRoot())
  }

  @Test func `a packet that is not delayed overtakes those that are`() throws {
    let impairment = Impairment.with { ($0.delayNanoseconds, $0.reorder) = (10 * millisecond, 0.1) }
    let stage = try ImpairedStage(outbound: impairment)
    for number in 0..<2000 {
      try stage.send("\(number)")
      stage.pass(millisecond)
      stage.wire.finishSending()
    }
    stage.pass(60 * millisecond)
    let arrived = stage.wire.takeSent().compactMap { Int($0.text) }
    #expect(arrived.sorted() == Array(0..<2000))
    let early = arrived.indices.filter { index in arrived[(index + 1)...].prefix(12).contains { $0 < arrived[index] } }
    #expect(abs(early.count - 200) < 5 * 14)
    #expect(stage.link.outboundCounters?.reordered ?? 0 >= UInt64(early.count))
  }

  @Test func `a rate spreads packets, each by its length`() throws {
    let impairment = Impairment.with { $0.bitsPerSecond = 8_000_000 }  // a byte for each microsecond
    let stage = try ImpairedStage(outbound: impairment)
    for count in [86, 186, 286] { try stage.send(String(repeating: "x", count: count)) }
    var times: [UInt64] = []
    while let deadline = stage.link.deadline {
      stage.clock.now = deadline
      stage.link.expire(now: deadline)
      times.append(deadline - 1_000_000_000)
    }
    #expect(times == [100_000, 300_000, 600_000])
    stage.pass(10 * millisecond)
    try stage.send(String(repeating: "x", count: 86))
    #expect(stage.link.deadline == stage.clock.now + 100_000, "a wire that was idle has saved up nothing")
  }

  // MARK: Bounds

  @Test func `beyond the limit packets are dropped and counted`() throws {
    let impairment = Impairment.with { ($0.delayNanoseconds, $0.limit) = (10 * millisecond, 100) }
    let stage = try ImpairedStage(outbound: impairment)
    for number in 0..<150 { #expect(try stage.send("\(number)"), "taken, and dropped") }
    #expect(stage.link.outboundCounters?.overLimit == 50)
    #expect(stage.link.counters.dropped == 50)
    stage.pass(10 * millisecond)
    #expect(stage.wire.takeSent().map(\.text) == (0..<100).map { "\($0)" })
    try stage.send("again")
    stage.pass(10 * millisecond)
    #expect(stage.wire.takeSent().map(\.text) == ["again"])
  }

  @Test func `the limit counts packets, not frames`() throws {
    let impairment = Impairment.with { ($0.delayNanoseconds, $0.limit) = (10 * millisecond, 10) }
    let stage = try ImpairedStage(outbound: impairment)
    try stage.send(TCPPacket(payload: Array(repeating: 1, count: 44 * 1000)), segmentBytes: 1000)
    stage.pass(10 * millisecond)
    #expect(stage.link.outboundCounters?.overLimit == 34)
    #expect(stage.wire.takeSent().flatMap { $0.onWire() }.count == 10)
  }

  @Test func `a small limit does not hurt what does not wait`() throws {
    let stage = try ImpairedStage(outbound: .with { $0.limit = 1 })
    try stage.send(TCPPacket(payload: Array(repeating: 1, count: 44 * 1000)), segmentBytes: 1000)
    #expect(stage.wire.takeSent().flatMap { $0.onWire() }.count == 44)
  }

  @Test func `small frames that wait pin nobody's memory, large ones are not copied`() throws {
    let impairment = Impairment.with { $0.delayNanoseconds = 10 * millisecond }
    let stage = try ImpairedStage(inbound: impairment)
    try stage.receive(TCPPacket(payload: [1, 2, 3]), segmentBytes: 1400)
    #expect(stage.maker.releasedCount == 1)
    #expect(stage.loop.frames.liveCount == 0)
    try stage.receive(TCPPacket(payload: Array(repeating: 1, count: 30_000)), segmentBytes: 1400)
    #expect(stage.maker.releasedCount == 1)
    stage.pass(10 * millisecond)
    #expect(stage.listener.received.map(\.isExclusive) == [true, true])
    #expect(stage.maker.releasedCount == 2)
  }

  // MARK: Back pressure and ends

  @Test(arguments: [0, 10 * millisecond]) func `a full wire is waited for, and nothing is lost`(delay: UInt64) throws {
    let stage = try ImpairedStage(outbound: .with { $0.delayNanoseconds = delay })
    stage.wire.room = 3
    var taken = 0
    for number in 0..<5 { if try stage.send("\(number)") { taken += 1 } }
    stage.pass(delay)
    if delay == 0 {
      #expect(taken == 4, "one is kept, then it is refused")
    } else {
      #expect(taken == 5)
      #expect(try !stage.send("5"))
    }
    #expect(stage.wire.takeSent().map(\.text) == ["0", "1", "2"])
    #expect(stage.link.deadline == nil, "the loop must not spin on what cannot go")
    #expect(stage.listener.readyCount == 0)
    stage.wire.room = 1
    stage.wire.delegate?.linkReady(stage.wire)
    #expect(stage.wire.takeSent().map(\.text) == ["3"])
    #expect(stage.listener.readyCount == (delay == 0 ? 1 : 0))
    stage.wire.room = 100
    stage.wire.delegate?.linkReady(stage.wire)
    #expect(stage.wire.takeSent().map(\.text) == (delay == 0 ? [] : ["4"]))
    #expect(stage.listener.readyCount == 1)
    #expect(try stage.send("again"))
    stage.pass(delay)
    #expect(stage.wire.takeSent().map(\.text) == ["again"])
    stage.wire.finishSending()
    #expect(stage.loop.frames.liveCount == 0)
  }

  @Test func `an end gives back what waits`() throws {
    let impairment = Impairment.with { ($0.delayNanoseconds, $0.loss) = (10 * millisecond, 0.2) }
    let stage = try ImpairedStage(inbound: impairment, outbound: impairment)
    for _ in 0..<20 {
      try stage.send("small")
      try stage.send(TCPPacket(payload: Array(repeating: 1, count: 40_000)), segmentBytes: 1000)
      try stage.receive(TCPPacket(payload: Array(repeating: 1, count: 40_000)), segmentBytes: 1000)
    }
    stage.wire.room = 0
    stage.pass(10 * millisecond)  // one frame is refused, and kept
    #expect(stage.loop.frames.liveCount > 0)
    stage.link.stop()
    #expect(stage.wire.isStopped)
    #expect(stage.loop.frames.liveCount == 0)
    #expect(stage.maker.releasedCount == 60)
    #expect(stage.link.deadline == nil)
    #expect(try !stage.send("too late"))
  }

  @Test func `before the start nothing is taken`() throws {
    let loop = try Loop(bufferCount: 1)
    let wire = TestWire()
    let link = ImpairedLink(wire, inbound: nil, outbound: .with { _ in })
    let frame = try FrameMaker(loop.frames).make(to: .host(1), from: .host(2), "early")
    #expect(!link.transmit(frame))
    frame.release()
    link.start(loop.context(0), delegate: PacketListener())
    #expect(link.facts == wire.facts && !link.keepsFrames)
  }

  @Test func `the wire's changes are told on`() throws {
    let stage = try ImpairedStage(outbound: .with { _ in })
    stage.wire.facts.isUp = false
    stage.wire.delegate?.linkChanged(stage.wire)
    #expect(stage.listener.changeCount == 1)
    #expect(!stage.link.facts.isUp)
  }
}
