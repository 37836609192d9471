import Frames
@testable import LwipGlue
import Testing

extension StackTests {
  @Suite struct Fragments {
    static let sources = [("10.0.0.1", "10.0.0.2"), ("fd00::1", "fd00::2")]
    private static let hosts = [["10.0.0.9/24", "fd00::9/64"], ["10.0.0.2/24", "fd00::2/64"]]

    /// A datagram to port 5000 in fragments of `size` bytes.
    private func fragments(
      _ world: World, _ addresses: (String, String), _ payload: [UInt8], size: Int, identification: Int = 77
    ) -> [WireFrame] {
      let mac = world.hosts[1].interface.mac
      let whole = RawPackets.udp(to: mac, from: addresses.0, to: addresses.1, payload)
      return RawPackets.fragments(
        to: mac, from: addresses.0, to: addresses.1, transport: 17, whole.transportBytes, size: size,
        identification: identification)
    }

    @Test(arguments: sources) func `any order will do, and pieces that come twice`(addresses: (String, String)) throws {
      try World.with(Self.hosts) { world in
        let sockets = world.bind(5000)
        world.settle()
        var generator = SeededGenerator(5)
        for (count, size) in [(40, 8), (3000, 1480), (20_000, 1480), (60_000, 512)] {
          let payload = pattern(count)
          let inOrder = fragments(world, addresses, payload, size: size, identification: count)
          let shuffled = (inOrder + inOrder).shuffled(using: &generator)
          for order in [inOrder, inOrder.reversed(), shuffled] {
            for frame in order { world.wire.hand(frame, to: world.hosts[1]) }
            let arrivals = sockets.takeArrivals()
            #expect(arrivals.count >= 1 && arrivals.allSatisfy { $0.bytes == payload }, "\(count) in pieces of \(size)")
          }
        }
      }
    }

    /// RFC 5722: what overlaps is an attack, or as good as one.
    @Test(arguments: sources) func `a packet whose pieces overlap is discarded`(addresses: (String, String)) throws {
      try World.with(Self.hosts) { world in
        let sockets = world.bind(5000)
        world.settle()
        let host = world.hosts[1]
        let mac = host.interface.mac
        let payload = pattern(2000)
        let pieces = fragments(world, addresses, payload, size: 512)
        let lie = RawPackets.fragment(
          to: mac, from: addresses.0, to: addresses.1, transport: 17, pattern(1024, seed: 9), offset: 256, isLast: false
        )
        for frame in [pieces[0], lie] + pieces.dropFirst() { world.wire.hand(frame, to: host) }
        #expect(sockets.takeArrivals().isEmpty)
        #expect(host.interface.counters.fragments > 0)
        let longer = RawPackets.fragment(
          to: mac, from: addresses.0, to: addresses.1, transport: 17, pattern(8), offset: 4096, isLast: false)
        world.run(seconds: 61)
        for frame in [pieces[3], longer] + pieces.dropLast() { world.wire.hand(frame, to: host) }
        #expect(sockets.takeArrivals().isEmpty)
      }
    }

    @Test(arguments: sources) func `an incomplete packet is given up after a minute, and its sender is told`(
      addresses: (String, String)
    ) throws {
      try World.with(Self.hosts) { world in
        let sockets = world.bind(5000)
        world.settle()
        let host = world.hosts[1]
        let pieces = fragments(world, addresses, pattern(3000), size: 1024)
        world.wire.isCapturing = true
        for frame in pieces.dropLast() { world.wire.hand(frame, to: host) }
        world.run(seconds: 62)
        let isV6 = addresses.0.contains(":")
        // The sender is nobody's: its answer waits for a neighbour, whose solicitation is what shows.
        #expect(world.stack.datagramCounters.sent == 1)
        world.wire.hand(pieces.last!, to: host)
        #expect(sockets.takeArrivals().isEmpty)
        #expect(world.wire.takeCaptured().contains { isV6 ? $0.isV6 : $0.isARP })
      }
    }

    /// lwIP would have ended the process at the first: its buffers count 16 bits.
    @Test func `fragments beyond what a packet can hold are dropped`() throws {
      try World.with(Self.hosts) { world in
        _ = world.bind(5000)
        world.settle()
        let host = world.hosts[1]
        let mac = host.interface.mac
        for addresses in Self.sources {
          for (offset, count, isLast) in [(65_528, 8, true), (65_528, 1400, false), (65_520, 24, true), (8, 0, true)] {
            let frame = RawPackets.fragment(
              to: mac, from: addresses.0, to: addresses.1, transport: 17, pattern(count), offset: offset, isLast: isLast
            )
            world.wire.hand(frame, to: host)
          }
        }
        // Behind another extension header lwIP sees it, and has no reassembly that could stumble.
        let inner = [17, 0] + RawPackets.big16(0xfff8) + [0, 0, 0, 5] + pattern(1400)
        let options: [UInt8] = [44, 0, 1, 4, 0, 0, 0, 0]
        world.wire.hand(
          RawPackets.packet(to: mac, from: "fd00::1", to: "fd00::2", transport: 60, options + inner), to: host)
        #expect(host.interface.counters.fragments >= 7)
      }
    }

    @Test func `memory for incomplete packets is bounded`() throws {
      try World.with(Self.hosts) { world in
        let sockets = world.bind(5000)
        let host = world.hosts[1]
        for number in 0..<6000 {
          let frame = RawPackets.fragment(
            to: host.interface.mac, from: "10.0.0.1", to: "10.0.0.2", transport: 17, pattern(1480), offset: 1480,
            isLast: false, identification: number)
          world.wire.hand(frame, to: host)
        }
        #expect(host.interface.counters.fragments >= 6000 - 4 * 1024 * 1024 / 1480)
        for frame in fragments(world, Self.sources[0], pattern(9000), size: 1480) { world.wire.hand(frame, to: host) }
        #expect(sockets.takeArrivals().map(\.bytes) == [pattern(9000)])
      }
    }

    @Test func `networks with the same addresses do not share pieces`() throws {
      try World.with([["10.0.0.2/24"], ["10.0.0.2/24"]]) { world in
        let sockets = world.bind(5000)
        let frames = world.hosts.map { host in
          RawPackets.fragments(
            to: host.interface.mac, from: "10.0.0.1", to: "10.0.0.2", transport: 17,
            RawPackets.udp(
              to: host.interface.mac, from: "10.0.0.1", to: "10.0.0.2", pattern(2000, seed: UInt64(host.port) + 1)
            ).transportBytes, size: 1024)
        }
        for index in 0..<2 {
          for host in world.hosts { world.wire.hand(frames[host.port][index], to: host) }
        }
        #expect(sockets.takeArrivals().map(\.bytes) == [pattern(2000, seed: 1), pattern(2000, seed: 2)])
      }
    }

    @Test func `an atomic fragment is a packet (RFC 6946)`() throws {
      try World.with(Self.hosts) { world in
        let sockets = world.bind(5000)
        world.settle()
        let frames = fragments(world, Self.sources[1], pattern(100), size: 1024)
        #expect(frames.count == 1)
        world.wire.hand(frames[0], to: world.hosts[1])
        #expect(sockets.takeArrivals().map(\.bytes) == [pattern(100)])
      }
    }
  }
}
