import Frames
import Glibc
@testable import LwipGlue
import Slab
import Testing

extension StackTests {
  /// Sending over paths that lose, delay and reorder, in the time of the test's clock.
  @Suite struct Recovering {
    /// A connection from host 0 to host 1 on a path with `delay` milliseconds each way.
    private func path(
      delay: Double, faults: Faults = .none, bitsPerSecond: UInt64 = 100_000_000, style: Wire.Style = .card,
      _ body: (World, _ client: Peer, _ server: Peer) throws -> Void
    ) throws {
      try World.with(style: style) { world in
        world.wire.delayNanoseconds = UInt64(delay * 1e6)
        world.wire.bitsPerSecond = bitsPerSecond
        let (client, server) = try world.connected()
        world.wire.faults = faults
        try body(world, client, server)
      }
    }

    /// Sends `count` bytes from client to server, and checks them; returns the seconds it took.
    @discardableResult
    private func send(
      _ count: Int, _ world: World, _ client: Peer, _ server: Peer, within seconds: Double = 600
    ) -> Double {
      let bytes = pattern(count, seed: 11)
      let start = world.now
      client.send(bytes, end: true)
      let isDone = world.run(seconds: seconds) { server.isEnded || client.isOver || server.isOver }
      #expect(isDone, "\(server.received.count) bytes of \(count)")
      #expect(difference(server.received, from: bytes) == nil)
      #expect(client.error == nil && server.error == nil)
      return Double(world.now - start) / 1e9
    }

    /// Bits per second that a window of 1.2 / √loss segments gives (Mathis et al., 1997), as far as the wire lets it.
    private func expectation(loss: Int, delay: Double) -> Double {
      guard loss > 0 else { return 90e6 }
      return min(90e6, 1460 * 8 * 1.2 / sqrt(Double(loss) / 100) / (2 * delay / 1000))
    }

    /// The mean of a few seeds; one alone says little. Seeds fix which frames are lost, not the phase of the timers, which
    /// each stack draws for itself: runs differ.
    @Test(arguments: [0, 1, 5, 10], [0.05, 10, 20]) func `losses cost what the formula says, and no more`(
      loss: Int, delay: Double
    ) throws {
      let count = loss == 0 ? 8_000_000 : loss == 1 ? 3_000_000 : 1_000_000
      // On a short path with one loss in ten, a time-out more or less is most of the time: that takes more seeds.
      let seeds: ClosedRange<UInt64> = loss == 0 ? 1...1 : loss == 10 && delay < 1 ? 1...48 : 1...3
      var seconds = 0.0
      for seed in seeds {
        try path(delay: delay, faults: Faults(loss: loss, seed: seed)) { world, client, server in
          seconds += send(count, world, client, server)
        }
      }
      let rate = Double(seeds.count * count) * 8 / seconds
      // One loss in ten: segments are often lost twice, and small windows cannot tell: time-outs, which the formula leaves out.
      let share = loss <= 1 ? 0.7 : loss == 5 ? 0.5 : 0.25
      let least = share * min(expectation(loss: loss, delay: delay), delay < 1 ? 20e6 : .infinity)
      #expect(rate > least, "\(Int(rate)) bit/s, \(Int(least)) wanted")
    }

    @Test(arguments: Wire.Style.allCases) func `each link recovers from losses on a long path`(style: Wire.Style) throws
    {
      try path(delay: 10, faults: Faults(loss: 2, seed: 9), style: style) { world, client, server in
        #expect(send(1_000_000, world, client, server) < 20)
      }
    }

    @Test func `slow start ends before it floods a queue`() throws {
      try path(delay: 20) { world, client, server in
        world.wire.queueBytes = 500_000  // one round trip's worth
        let seconds = send(10_000_000, world, client, server)
        #expect(Double(10_000_000 * 8) / seconds > 60e6)
        #expect(world.wire.lostCount < 400)
      }
    }

    @Test(arguments: [1, 5]) func `reordering is no loss`(percent: Int) throws {
      try path(delay: 1, faults: Faults(reordering: percent, seed: 3), bitsPerSecond: 50_000_000) {
        world, client, server in
        let seconds = send(3_000_000, world, client, server)
        #expect(Double(3_000_000 * 8) / seconds > 10e6, "the window collapsed")
      }
    }

    @Test func `a whole flight that is lost is made good in a few round trips`() throws {
      try path(delay: 10) { world, client, server in
        var isBroken = false
        world.wire.swallows = { isBroken && $0.origin == 0 && $0.payloadBytes > 0 }
        client.send(pattern(400_000, seed: 11))
        world.run(seconds: 0.2) { server.received.count > 200_000 }
        isBroken = true
        world.run(seconds: 0.02)  // what a round trip holds
        isBroken = false
        let start = world.now
        let isDone = world.run(seconds: 60) { server.received.count == 400_000 }
        #expect(isDone)
        #expect(difference(server.received, from: pattern(400_000, seed: 11)) == nil)
        #expect(Double(world.now - start) / 1e9 < 1.0)
      }
    }

    /// The n-th frame with data, its second and third sending: the second is noticed without a time-out.
    @Test(arguments: [1, 2]) func `a retransmission that is lost too is sent again`(times: Int) throws {
      try path(delay: 10) { world, client, server in
        var victim: UInt32?
        var left = times + 1
        var count = 0
        world.wire.swallows = { frame in
          guard frame.origin == 0, frame.payloadBytes > 1000 else { return false }
          count += 1
          if count == 300 { victim = frame.sequence }
          guard let victim, frame.sequence == victim, left > 0 else { return false }
          left -= 1
          return true
        }
        let seconds = send(2_000_000, world, client, server)
        #expect(left == 0)
        #expect(seconds < 0.6, "took \(seconds) s: a time-out")
      }
    }

    /// One alone its peer may delay the acknowledgement of: that takes the timer.
    @Test(arguments: [1, 3, 8]) func `a lost tail is found by a probe`(frames: Int) throws {
      try path(delay: 10) { world, client, server in
        let bytes = pattern(60 * 1460, seed: 11)
        client.send(Array(bytes.prefix(40 * 1460)))
        #expect(world.run(seconds: 5) { server.received.count == 40 * 1460 })
        var sequences: Set<UInt32> = []
        let first = 20 - frames
        world.wire.swallows = { frame in
          guard frame.origin == 0, frame.payloadBytes > 0, sequences.insert(frame.sequence).inserted else {
            return false
          }
          return sequences.count > first
        }
        let start = world.now
        client.send(Array(bytes.suffix(20 * 1460)))
        #expect(world.run(seconds: 5) { server.received.count == bytes.count })
        #expect(difference(server.received, from: bytes) == nil)
        #expect(Double(world.now - start) / 1e9 < (frames == 1 ? 0.3 : 0.2), "took a time-out")
      }
    }

    @Test func `a lost SYN, answer or FIN is sent again`() throws {
      for lost in [TCPFlags.syn, [.syn, .ack], .fin] {
        try World.with(style: .card) { world in
          var left = 1
          world.wire.swallows = { frame in
            guard left > 0, frame.isTCP else { return false }
            let isIt = lost == .fin ? frame.flags.contains(.fin) : frame.flags == lost
            if isIt { left -= 1 }
            return isIt
          }
          let (client, server) = try world.connected()
          send(100_000, world, client, server, within: 5)
          #expect(left == 0)
        }
      }
    }

    @Test func `a peer without SACK is sent again what it misses`() throws {
      try World.with(style: .card) { world in
        world.wire.delayNanoseconds = 5_000_000
        world.wire.alters = { $0.forbidSelectiveAcknowledgements() }
        let (client, server) = try world.connected()
        #expect(world.stack.facts(of: client.key)?.sendsSelectiveAcknowledgements == false)
        world.wire.faults = Faults(loss: 1, seed: 4)
        #expect(send(2_000_000, world, client, server) < 20)
      }
    }

    /// A delay that jumps up makes the timer run out for nothing; what arrives then takes the reduction back.
    @Test func `a time-out for nothing is undone`() throws {
      try path(delay: 5) { world, client, server in
        client.send(pattern(3_000_000, seed: 11))
        world.run(seconds: 1) { server.received.count > 1_000_000 }
        let before = try #require(world.stack.facts(of: client.key)).windowSegments
        world.wire.delayNanoseconds = 300_000_000
        #expect(world.run(seconds: 60) { server.received.count == 3_000_000 })
        #expect(difference(server.received, from: pattern(3_000_000, seed: 11)) == nil)
        let after = try #require(world.stack.facts(of: client.key)).windowSegments
        #expect(after >= before / 2, "\(before) segments, then \(after)")
      }
    }

    /// 500 Mbit/s over 40 ms are 2.5 MB in flight, and in the buffers of both ends.
    @Test func `windows grow with the path`() throws {
      try path(delay: 20, bitsPerSecond: 500_000_000) { world, client, server in
        world.wire.queueBytes = 4_000_000
        let seconds = send(30_000_000, world, client, server)
        let rate = Double(30_000_000 * 8) / seconds
        #expect(rate > 230e6, "\(Int(rate)) bit/s: 1 MiB for each round trip are 210e6")
        #expect(world.stack.windowLimitBytes(server.key) ?? 0 > 1_500_000)
      }
    }

    /// lwIP cuts a segment whose peer's window is too small for it, and leaves the FIN on both parts.
    @Test func `an end behind a small window is no end before it`() throws {
      try World.with { world in
        let service = try world.listen(1)
        var options = ConnectionOptions()
        options.receiveLimitBytes = 10_000
        world.stack.apply(options, toListener: service.key)
        service.reads = false
        let client = try world.connect(0, to: world.hosts[1].address())
        #expect(world.run(seconds: 5) { client.isEstablished && service.accepted.count == 1 })
        let server = try #require(service.accepted.first)
        let bytes = pattern(10_700)
        client.send(Array(bytes.prefix(9700)))
        world.run(seconds: 1)
        client.send(Array(bytes.suffix(1000)), end: true)
        world.run(seconds: 2)
        #expect(!server.isEnded)
        server.reads = true
        #expect(world.run(seconds: 20) { server.isEnded })
        #expect(difference(server.received, from: bytes) == nil)
      }
    }

    @Test func `nothing is left of what was in flight`() throws {
      try path(delay: 10, faults: Faults(loss: 5, seed: 2)) { world, client, server in
        send(500_000, world, client, server)
        server.send([], end: true)
        #expect(world.run(seconds: 60) { client.isEnded })
        world.run(seconds: 1)
        #expect(world.stack.segmentRecords.liveCount == 0)
        #expect(world.stack.recoveries.count <= 1)
      }
    }

    private func lastAcknowledgement(_ world: World) -> WireFrame? {
      world.wire.takeCaptured().last { $0.origin == 1 && $0.isTCP && $0.payloadBytes == 0 && $0.flags == .ack }
    }

    /// Blocks inside and outside of what is in flight, a few with their ends exchanged.
    private func lies(about base: UInt32, _ generator: inout SeededGenerator) -> [SelectedBlock] {
      var blocks: [SelectedBlock] = []
      for _ in 0...(generator.next() % 4) {
        var left = base &+ UInt32(generator.next() % 200_000)
        if generator.happens(20) { left &-= 100_000 }
        let random = generator.next()
        let right = left &+ (generator.happens(10) ? UInt32(truncatingIfNeeded: random) : UInt32(random % 20_000))
        blocks.append(
          generator.happens(10) ? SelectedBlock(left: right, right: left) : SelectedBlock(left: left, right: right))
      }
      return blocks
    }

    /// A peer that lies about what it has harms only itself, and not for ever.
    @Test(arguments: [1, 2, 3] as [UInt64]) func `SACK blocks of all kinds are survived`(seed: UInt64) throws {
      try path(delay: 2, faults: Faults(loss: 1, seed: seed)) { world, client, server in
        var generator = SeededGenerator(seed)
        world.wire.isCapturing = true
        let bytes = pattern(3_000_000, seed: 11)
        client.send(bytes, end: true)
        for _ in 0..<400 {
          world.run(seconds: 0.001) { server.isEnded }
          guard let honest = lastAcknowledgement(world) else { continue }
          let blocks = lies(about: honest.acknowledged, &generator)
          world.wire.hand(honest.acknowledging(blocks), to: world.hosts[0])
        }
        #expect(world.run(seconds: 600) { server.isEnded || client.isOver })
        #expect(difference(server.received, from: bytes) == nil)
      }
    }

    /// Each second byte is acknowledged, of all that is in flight.
    @Test func `a scoreboard of crumbs stays bounded`() throws {
      try path(delay: 50, bitsPerSecond: 0) { world, client, server in
        client.send(pattern(2_000_000, seed: 11))
        world.wire.isCapturing = true
        world.wire.swallows = { $0.origin == 1 }
        world.run(seconds: 0.3)
        let honest = try #require(lastAcknowledgement(world))
        var offset: UInt32 = 1
        for _ in 0..<700 {
          let blocks = (0..<4).map { _ in
            offset += 2
            return SelectedBlock(left: honest.acknowledged &+ offset, right: honest.acknowledged &+ offset &+ 1)
          }
          world.wire.hand(honest.acknowledging(blocks), to: world.hosts[0])
        }
        #expect(world.stack.segmentRecords.liveCount <= SegmentRecords.connectionLimit)
        world.wire.swallows = { _ in false }
        #expect(world.run(seconds: 60) { server.received.count == 2_000_000 })
        #expect(difference(server.received, from: pattern(2_000_000, seed: 11)) == nil)
      }
    }
  }
}

struct SelectedBlock {
  let left: UInt32
  let right: UInt32
}

extension WireFrame {
  /// Takes the offer of SACK out of a SYN.
  mutating func forbidSelectiveAcknowledgements() {
    guard isTCP, flags.contains(.syn) else { return }
    var offset = tcp + 20
    while offset < tcp + tcpHeaderBytes {
      switch u8(offset) {
      case 0: return
      case 1: offset += 1
      case 4:
        bytes[offset] = 1
        bytes[offset + 1] = 1
      default: offset += max(2, Int(u8(offset + 1)))
      }
    }
  }

  /// An acknowledgement like this one, IPv4, with SACK blocks.
  func acknowledging(_ blocks: [SelectedBlock]) -> WireFrame {
    var frame = self
    frame.bytes = Array(bytes.prefix(tcp + 20)) + [1, 1, 5, UInt8(2 + 8 * blocks.count)]
    frame.bytes += [UInt8](repeating: 0, count: 8 * blocks.count)
    for (index, block) in blocks.enumerated() {
      frame.set32(tcp + 24 + 8 * index, block.left)
      frame.set32(tcp + 28 + 8 * index, block.right)
    }
    frame.bytes[tcp + 12] = UInt8(6 + 2 * blocks.count) << 4
    frame.set16(16, UInt16(frame.bytes.count - 14))
    frame.set16(24, 0)
    frame.set16(24, ~frame.ipHeaderSum)
    frame.offload = OffloadHeader()
    frame.offload.flags = OffloadHeader.checksumValid
    return frame
  }
}
