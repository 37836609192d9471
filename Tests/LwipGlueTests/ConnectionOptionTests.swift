import Frames
import Glibc
@testable import LwipGlue
import Testing

extension StackTests {
  @Suite struct OptionsOfConnections {
    private static let hosts = [["10.0.0.1/24", "fd00::1/64"], ["10.0.0.2/24", "fd00::2/64"]]

    /// An ICMP error about a segment of a connection that host 0 sent with this sequence number.
    private func tell(
      _ world: World, _ segment: WireFrame, _ type: UInt8, _ code: UInt8, word: UInt32 = 0, sequence: UInt32? = nil
    ) {
      var quoted = segment
      if let sequence { quoted.set32(quoted.tcp + 4, sequence) }
      let isV6 = segment.isV6
      let frame = RawPackets.icmp(
        to: world.hosts[0].interface.mac, from: isV6 ? "fd00::fe" : "10.0.0.254", to: isV6 ? "fd00::1" : "10.0.0.1",
        type: type, code: code, word: word, Array(quoted.ipPacket.prefix(isV6 ? 60 : 28)))
      world.wire.hand(frame, to: world.hosts[0])
    }

    @Test(arguments: ["10.0.0.2", "fd00::2"]) func `a connection that begins fails as Linux's do`(target: String) throws
    {
      try World.with(Self.hosts) { world in
        world.settle()
        world.wire.swallows = { $0.isTCP }
        world.wire.isCapturing = true
        let isV6 = target.contains(":")
        let cases: [(UInt8, UInt8, Int32)] =
          isV6
          ? [(1, 0, ENETUNREACH), (1, 1, EACCES), (1, 3, EHOSTUNREACH), (1, 4, ECONNREFUSED), (3, 0, EHOSTUNREACH)]
          : [
            (3, 0, ENETUNREACH), (3, 1, EHOSTUNREACH), (3, 3, ECONNREFUSED), (3, 10, EHOSTUNREACH),
            (11, 0, EHOSTUNREACH),
          ]
        for (type, code, error) in cases {
          let client = try world.connect(0, to: IPAddress(target)!)
          var syn: WireFrame?
          world.run(seconds: 5) {
            syn = syn ?? world.wire.takeCaptured().first { $0.isTCP && $0.flags == .syn }
            return syn != nil
          }
          let segment = try #require(syn)
          for stray in [UInt32.max, 2, 1 << 31] {
            tell(world, segment, type, code, sequence: segment.sequence &+ stray)
          }
          world.takeEvents()
          #expect(!client.isOver, "an error about what was never sent")
          tell(world, segment, type, code)
          world.takeEvents()
          #expect(client.error == error)
          #expect(!world.wire.takeCaptured().contains { $0.isTCP && $0.flags.contains(.reset) })
        }
      }
    }

    @Test func `an established connection outlives errors, and remembers the last for its end`() throws {
      try World.with(Self.hosts) { world in
        let (client, server) = try world.connected()
        world.wire.isCapturing = true
        client.send("hello")
        #expect(world.run { server.text == "hello" })
        let segment = try #require(world.wire.takeCaptured().first { $0.isTCP && $0.payloadBytes == 5 })
        for (type, code) in [(3, 0), (3, 1), (3, 3), (11, 0)] as [(UInt8, UInt8)] { tell(world, segment, type, code) }
        client.send(" again")
        #expect(world.run { server.text == "hello again" } && !client.isOver)
        world.wire.swallows = { $0.isTCP }
        world.stack.setUserTimeout(client.key, milliseconds: 5000)
        _ = world.wire.takeCaptured()
        let start = world.now
        client.send("lost")
        world.run(seconds: 1)
        let lost = try #require(world.wire.takeCaptured().first { $0.isTCP && $0.payloadBytes == 4 })
        tell(world, lost, 3, 1)
        #expect(world.run(seconds: 60) { client.isOver })
        #expect(client.error == EHOSTUNREACH)
        #expect((5_000_000_000...5_200_000_000).contains(world.now - start))
      }
    }

    @Test(arguments: Wire.Style.allCases, ["10.0.0.2", "fd00::2"])
    func `a smaller path MTU cuts segments smaller`(style: Wire.Style, target: String) throws {
      try World.with(Self.hosts, style: style) { world in
        world.settle()
        let isV6 = target.contains(":")
        let (client, server) = try world.connected(address: IPAddress(target)!)
        client.send(pattern(100_000))
        #expect(world.run { server.received.count == 100_000 })
        // A router drops what is larger and says so.
        let limit = isV6 ? 1300 : 900
        var dropped: [WireFrame] = []
        world.wire.swallows = {
          guard $0.isTCP, $0.origin == 0 else { return false }
          let wire =
            $0.offload.segmentation != 0 ? Int($0.offload.segmentBytes) + $0.ipHeaderBytes + 20 : $0.ipPacketBytes
          if wire > limit { dropped.append($0) }
          return wire > limit
        }
        client.send(pattern(400_000))
        #expect(
          world.run(seconds: 60) {
            for frame in dropped { tell(world, frame, isV6 ? 2 : 3, isV6 ? 0 : 4, word: UInt32(limit)) }
            dropped = []
            return server.received.count == 500_000
          })
        #expect(difference(Array(server.received.dropFirst(100_000)), from: pattern(400_000)) == nil)
        #expect(world.stack.facts(of: client.key)?.segmentBytes == UInt32(limit - (isV6 ? 60 : 40)))
        // The next connection knows from the start.
        let second = try world.connected(port: 81, address: IPAddress(target)!)
        #expect(world.stack.facts(of: second.client.key)?.segmentBytes == UInt32(limit - (isV6 ? 60 : 40)))
      }
    }

    @Test(arguments: ["10.0.0.2", "fd00::2"]) func `hop limit and traffic class go into each segment`(
      target: String
    ) throws {
      try World.with(Self.hosts) { world in
        world.settle()
        let service = try world.listen(1, on: target.contains(":") ? .anyV6 : .anyV4)
        world.wire.isCapturing = true
        var options = ConnectionOptions()
        options.hopLimit = 9
        options.trafficClass = 0x28
        let client = try world.connect(0, to: IPAddress(target)!, options: options)
        client.send(pattern(10_000), end: true)
        #expect(world.run { service.accepted.first?.isEnded == true })
        let segments = world.wire.takeCaptured().filter { $0.isTCP && $0.origin == 0 }
        #expect(!segments.isEmpty)
        for segment in segments {
          #expect(segment.u8(segment.isV6 ? 21 : 22) == 9)
          #expect((segment.isV6 ? UInt8(truncatingIfNeeded: segment.u16(14) >> 4) : segment.u8(15)) == 0x28)
        }
      }
    }

    @Test func `a receive limit holds the sender back, and everything still arrives`() throws {
      try World.with { world in
        let service = try world.listen(1)
        var settings = ConnectionOptions()
        settings.receiveLimitBytes = 20_000
        world.stack.apply(settings, toListener: service.key)
        let client = try world.connect(0, to: world.hosts[1].address())
        #expect(world.run { service.accepted.count == 1 && client.isEstablished })
        let server = try #require(service.accepted.first)
        server.reads = false
        client.send(pattern(2_000_000))
        world.run(seconds: 10)
        #expect(world.stack.receivedBytes(server.key) <= 20_000)
        server.reads = true
        #expect(world.run(seconds: 60) { server.received.count == 2_000_000 })
        #expect(difference(server.received, from: pattern(2_000_000)) == nil)
        server.reads = false
        client.send(pattern(500_000))
        world.run(seconds: 10)
        #expect(world.stack.receivedBytes(server.key) <= 20_000)
        world.stack.setReceiveLimit(server.key, bytes: 300_000)
        world.run(seconds: 10)
        let bytes = world.stack.receivedBytes(server.key)
        #expect(bytes > 250_000 && bytes <= 300_000)
        server.reads = true
        #expect(world.run(seconds: 60) { server.received.count == 2_500_000 })
      }
    }

    @Test func `the user's timeout ends what is not acknowledged, not what is silent`() throws {
      try World.with { world in
        let (client, server) = try world.connected()
        world.stack.setUserTimeout(client.key, milliseconds: 3000)
        world.run(seconds: 20)
        client.send("late")
        #expect(world.run { server.text == "late" } && !client.isOver)
        world.wire.swallows = { $0.isTCP }
        let start = world.now
        client.send("lost")
        #expect(world.run(seconds: 60) { client.isOver } && client.error == ETIMEDOUT)
        #expect((3_000_000_000...3_200_000_000).contains(world.now - start))
        let begun = try world.connect(0, to: world.hosts[1].address(), port: 99)
        world.stack.setUserTimeout(begun.key, milliseconds: 2000)
        let second = world.now
        #expect(world.run(seconds: 60) { begun.isOver } && begun.error == ETIMEDOUT)
        #expect((2_000_000_000...2_200_000_000).contains(world.now - second))
      }
    }
  }
}
