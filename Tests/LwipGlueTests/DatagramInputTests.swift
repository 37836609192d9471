import Frames
import Glibc
@testable import LwipGlue
import Testing

extension StackTests {
  /// What the wire brings that no honest sender would send.
  @Suite struct DatagramInput {
    private static let families = [("10.0.0.9", "10.0.0.2"), ("fd00::9", "fd00::2")]
    private static let hosts = [["10.0.0.1/24"], ["10.0.0.2/24", "fd00::2/64"]]

    @Test func `checksums are verified, and may be missing only over IPv4`() throws {
      try World.with(Self.hosts) { world in
        let sockets = world.bind(5000)
        world.settle()
        let host = world.hosts[1]
        let mac = host.interface.mac
        for (source, target) in Self.families {
          let right = RawPackets.udp(to: mac, from: source, to: target, pattern(33))
          for offset in [right.tcp, right.tcp + 5, right.tcp + 8, right.bytes.count - 1] {
            var wrong = right
            wrong.bytes[offset] ^= 0x10
            if offset == right.tcp + 5 { wrong.bytes[offset] = right.bytes[offset] - 1 }
            world.wire.hand(wrong, to: host)
          }
          #expect(sockets.takeArrivals().isEmpty)
          world.wire.hand(right, to: host)
          #expect(sockets.takeArrivals().map(\.bytes) == [pattern(33)])
          world.wire.hand(RawPackets.udp(to: mac, from: source, to: target, pattern(33), checksum: 0), to: host)
          #expect(sockets.takeArrivals().count == (target.contains(":") ? 0 : 1))
          // The link vouches for it: what is in the field is a partial sum.
          var vouched = RawPackets.udp(to: mac, from: source, to: target, pattern(33), checksum: 0x1234)
          vouched.offload.flags = OffloadHeader.needsChecksum
          world.wire.hand(vouched, to: host)
          #expect(sockets.takeArrivals().map(\.bytes) == [pattern(33)])
        }
        #expect(world.stack.datagramCounters.badChecksum == 9)
      }
    }

    @Test func `lengths that contradict each other are malformed, padding is cut off`() throws {
      try World.with(Self.hosts) { world in
        let sockets = world.bind(5000)
        world.settle()
        let host = world.hosts[1]
        let mac = host.interface.mac
        for (source, target) in Self.families {
          for length in [0, 1, 7, 8 + 34, 65_535] {
            world.wire.hand(
              RawPackets.udp(to: mac, from: source, to: target, pattern(33), checksum: 0, length: length), to: host)
          }
          for count in 0..<8 {
            world.wire.hand(
              RawPackets.packet(to: mac, from: source, to: target, transport: 17, pattern(count)), to: host)
          }
          #expect(sockets.takeArrivals().isEmpty)
          var padded = RawPackets.udp(to: mac, from: source, to: target, pattern(33) + [0, 0, 0], length: 41)
          let sum = padded.pseudoSum - 3 + padded.sum(from: padded.tcp, to: padded.bytes.count)
          padded.set16(padded.tcp + 6, 0)
          let bare =
            sum
            - UInt64(
              RawPackets.udp(to: mac, from: source, to: target, pattern(33) + [0, 0, 0], length: 41).u16(padded.tcp + 6)
            )
          padded.set16(padded.tcp + 6, ~padded.fold(bare))
          world.wire.hand(padded, to: host)
          #expect(sockets.takeArrivals().map(\.bytes) == [pattern(33)])
        }
        #expect(world.stack.datagramCounters.malformed == 26)
      }
    }

    @Test func `extension headers do not hide a datagram`() throws {
      try World.with(Self.hosts) { world in
        let sockets = world.bind(5000)
        world.settle()
        let host = world.hosts[1]
        let mac = host.interface.mac
        let udp = RawPackets.udp(to: mac, from: "fd00::9", to: "fd00::2", pattern(50)).transportBytes
        let padding: [UInt8] = [0, 1, 4, 0, 0, 0, 0]
        for headers: [UInt8] in [[60, 17] + padding, [0, 17] + padding, [0, 60] + padding + [17] + padding] {
          let frame = RawPackets.packet(
            to: mac, from: "fd00::9", to: "fd00::2", transport: headers[0], Array(headers.dropFirst()) + udp)
          world.wire.hand(frame, to: host)
          #expect(sockets.takeArrivals().map(\.bytes) == [pattern(50)])
        }
      }
    }

    @Test func `without a receiver, each port is unreachable`() throws {
      try World.with { world in
        world.wire.isCapturing = true
        try world.send(0, to: world.hosts[1].address(), [1])
        world.run(seconds: 1)
        let answers = world.wire.takeCaptured().filter { $0.isV4 && $0.transport == 1 }
        #expect(answers.map { [$0.u8($0.tcp), $0.u8($0.tcp + 1)] } == [[3, 3]])
      }
    }

    @Test func `random bytes do no harm`() throws {
      try World.with(Self.hosts) { world in
        let sockets = world.bind(5000)
        world.settle()
        let host = world.hosts[1]
        var generator = SeededGenerator(3)
        for round in 0..<4000 {
          let (source, target) = Self.families[round % 2]
          var frame = RawPackets.udp(to: host.interface.mac, from: source, to: target, pattern(60), checksum: 0)
          for _ in 0..<Int.random(in: 1...8, using: &generator) {
            let offset = Int.random(in: 12..<frame.bytes.count, using: &generator)
            frame.bytes[offset] = UInt8.random(in: 0...255, using: &generator)
          }
          if target.contains("."), frame.isV4, frame.ipHeaderBytes >= 20, frame.tcp <= frame.bytes.count {
            frame.set16(24, 0)
            frame.set16(24, ~frame.ipHeaderSum)
          }
          frame.bytes.removeLast(Int.random(in: 0..<40, using: &generator))
          world.wire.hand(frame, to: host)
        }
        _ = sockets.takeArrivals()
        world.wire.hand(RawPackets.udp(to: host.interface.mac, from: "10.0.0.9", to: "10.0.0.2", [7]), to: host)
        #expect(sockets.takeArrivals().map(\.bytes) == [[7]])
      }
    }

    @Test func `a flood for no socket is answered a thousand times a second at most`() throws {
      try World.with(Self.hosts) { world in
        _ = world.bind(5000)
        let host = world.hosts[1]
        try world.send(0, to: host.address(), port: 9, [1])
        world.run(seconds: 1)
        world.wire.isCapturing = true
        let frame = RawPackets.udp(to: host.interface.mac, from: "10.0.0.1", to: "10.0.0.2", targetPort: 9, [1])
        for _ in 0..<300 { world.wire.hand(frame, to: host) }
        world.run(seconds: 0.02)
        for _ in 0..<300 { world.wire.hand(frame, to: host) }
        let answers = world.wire.takeCaptured().filter { $0.isV4 && $0.transport == 1 }.count
        #expect((65...75).contains(answers))
        #expect(world.stack.datagramCounters.unanswered == UInt64(600 - answers))
      }
    }

    @Test(arguments: ["10.0.0.2", "fd00::2"]) func `what waits for a neighbour is bounded, the newest stay`(
      target: String
    ) throws {
      try World.with([["10.0.0.1/24", "fd00::1/64"], Self.hosts[1]]) { world in
        let sockets = world.bind(5000)
        world.settle()
        var isSilent = true
        world.wire.swallows = { isSilent && $0.origin == 1 }
        for number in 0..<200 { try world.send(0, to: IPAddress(target)!, [UInt8(number)]) }
        isSilent = false
        let arrivals = world.arrivals(sockets, 64)
        #expect(arrivals.map(\.bytes) == (136..<200).map { [UInt8($0)] })
        world.run(seconds: 5)
        #expect(sockets.failures.isEmpty)
      }
    }

    /// A hub's frames are shared with the sender's memory.
    @Test func `datagrams cross a hub`() throws {
      try World.with([["10.0.0.1/24"], ["10.0.0.2/24"]], medium: { try HubMedium(frames: $0) }) { world in
        let sockets = world.bind(5000)
        for count in [0, 1, 1472, 1473, 65_507] {
          try world.send(0, to: world.hosts[1].address(), pattern(count))
          #expect(world.arrivals(sockets, 1).map { difference($0.bytes, from: pattern(count)) } == [nil])
        }
      }
    }

    @Test func `a full link drops datagrams, and says so in a counter only`() throws {
      try World.with { world in
        let sockets = world.bind(5000)
        try world.send(0, to: world.hosts[1].address(), [1])
        #expect(world.arrivals(sockets, 1).count == 1)
        world.wire.refusals = 2
        for _ in 0..<2 { try world.send(0, to: world.hosts[1].address(), pattern(100)) }
        world.run(seconds: 1)
        #expect(sockets.arrivals.isEmpty && world.stack.datagramCounters.unsent == 2)
      }
    }
  }
}
