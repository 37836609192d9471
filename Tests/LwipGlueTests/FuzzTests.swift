import Frames
@testable import LwipGlue
import Testing

extension StackTests {
  /// Frames that no honest host sends, by the thousand; each crash or leak ends the test run.
  @Suite struct Fuzz {
    private static let hosts = [["10.0.0.1/24", "fd00::1/64"], ["10.0.0.2/24", "10.0.0.3/24", "fd00::2/64"]]

    /// Frames of an honest exchange in both families.
    private func corpus(_ world: World) throws -> [WireFrame] {
      world.wire.isCapturing = true
      world.run(seconds: 5)
      for address in ["10.0.0.2", "fd00::2"] {
        let (client, server) = try world.connected(port: address == "fd00::2" ? 81 : 80, address: IPAddress(address)!)
        client.send(pattern(20_000), end: true)
        server.send(pattern(3000), end: true)
        world.run(seconds: 1)
      }
      world.wire.isCapturing = false
      return world.wire.takeCaptured()
    }

    private func mutate(_ frame: WireFrame, for mac: MACAddress, _ generator: inout SeededGenerator) -> WireFrame {
      var frame = frame
      switch generator.next() % 8 {
      case 0: frame.bytes.removeLast(Int(generator.next() % UInt64(frame.bytes.count)))
      case 1: frame.bytes += (0..<Int(generator.next() % 64)).map { _ in UInt8.random(in: 0...255, using: &generator) }
      case 2: frame.bytes = frame.bytes.prefix(14) + (0..<60).map { _ in UInt8.random(in: 0...255, using: &generator) }
      default: break
      }
      for _ in 0..<(generator.next() % 6) where !frame.bytes.isEmpty {
        let limit = generator.happens(80) ? min(frame.bytes.count, 90) : frame.bytes.count
        frame.bytes[Int(generator.next() % UInt64(limit))] = UInt8.random(in: 0...255, using: &generator)
      }
      if generator.happens(90), frame.bytes.count >= 6 { frame.bytes.replaceSubrange(0..<6, with: mac.bytes) }
      if generator.happens(50) { frame.offload.flags = OffloadHeader.checksumValid } else { frame.offload.flags = 0 }
      if generator.happens(10) {
        frame.offload.segmentation = UInt8.random(in: 0...255, using: &generator)
        frame.offload.segmentBytes = UInt16.random(in: 0...65_535, using: &generator)
        frame.offload.headerBytes = UInt16.random(in: 0...65_535, using: &generator)
      }
      return frame
    }

    @Test(arguments: [1, 2, 3, 4] as [UInt64]) func `mutated frames harm nobody for long`(seed: UInt64) throws {
      try World.with(Self.hosts) { world in
        let frames = try corpus(world)
        var generator = SeededGenerator(seed)
        let service = try world.listen(1, port: 82)
        let victim = try world.connect(0, to: IPAddress("10.0.0.2")!, port: 82)
        #expect(world.run(seconds: 5) { victim.isEstablished })
        for round in 0..<5000 {
          let host = world.hosts[Int(generator.next() % 2)]
          let frame = mutate(frames[Int(generator.next() % UInt64(frames.count))], for: host.interface.mac, &generator)
          world.wire.hand(frame, to: host)
          if round % 50 == 0 { world.run(seconds: 0.02) }
          if round % 1000 == 999 {
            for peer in world.peers.values { peer.abort() }
            world.medium.clear()
          }
        }
        for host in world.hosts {
          #expect(host.interface.counters.notForUs > 0)
          #expect(host.interface.counters.malformed > 0)
        }
        world.run(seconds: 700)  // forged neighbours are forgotten
        let client = try world.connect(0, to: IPAddress("10.0.0.2")!, port: 82)
        client.send(pattern(100_000), end: true)
        #expect(world.run(seconds: 60) { service.accepted.last?.received.count == 100_000 })
        #expect(difference(service.accepted.last?.received ?? [], from: pattern(100_000)) == nil)
      }
    }

    /// Right addresses, ports and sums; only flags, numbers and payload are wild: these reach the connections.
    @Test(arguments: [11, 12] as [UInt64]) func `wild segments for a live connection do not break the stack`(
      seed: UInt64
    ) throws {
      try World.with { world in
        world.wire.isCapturing = true
        var generator = SeededGenerator(seed)
        for _ in 0..<20 {
          let port = UInt16.random(in: 1000...60_000, using: &generator)
          _ = try world.listen(1, port: port)
          let client = try world.connect(0, to: world.hosts[1].address(), port: port)
          client.send(pattern(200_000))
          world.run(seconds: 0.002)
          let frames = world.wire.takeCaptured().filter {
            $0.isTCP && ($0.sourcePort == port || $0.destinationPort == port)
          }
          try #require(!frames.isEmpty)
          for _ in 0..<150 {
            var frame = frames[Int(generator.next() % UInt64(frames.count))]
            frame.bytes[frame.tcp + 13] = UInt8.random(in: 0...255, using: &generator)
            let shift = UInt32.random(in: 0...131_072, using: &generator)
            frame.set32(frame.tcp + 4, frame.sequence &+ shift &- 65_536)
            frame.set32(frame.tcp + 8, frame.acknowledged &+ (shift >> 3) &- 8192)
            frame.set16(frame.tcp + 14, UInt16.random(in: 0...65_535, using: &generator))
            frame.offload.flags = OffloadHeader.checksumValid
            world.wire.hand(frame, to: world.hosts[1 - frame.origin])
            world.takeEvents()
          }
          for peer in world.peers.values { peer.abort() }  // or the two ends would acknowledge each other for ever
          world.medium.clear()
          world.run(seconds: 1)
          _ = world.wire.takeCaptured()
        }
      }
    }

    @Test func `random bytes are refused and counted`() throws {
      try World.with { world in
        var generator = SeededGenerator(99)
        let before = world.hosts[1].interface.counters
        for _ in 0..<2000 {
          let bytes = (0..<Int(generator.next() % 200)).map { _ in UInt8.random(in: 0...255, using: &generator) }
          world.wire.hand(WireFrame(bytes: bytes), to: world.hosts[1])
        }
        let after = world.hosts[1].interface.counters
        #expect(after.notForUs + after.malformed - before.notForUs - before.malformed > 1900)
      }
    }
  }
}
