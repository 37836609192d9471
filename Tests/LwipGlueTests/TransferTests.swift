import Frames
import Glibc
@testable import LwipGlue
import Testing
import UringLoop

private let sizes = [0, 1, 1460, 65_535, 65_536, 65_537, 10_000_000]
private let ringIsAvailable = (try? Ring(entries: 2)) != nil

extension StackTests {
  @Suite struct Transfers {
    /// Both ends write `count` bytes at once and shut their sides down behind them.
    private func exchange(_ count: Int, in world: World, file: String = #function) throws {
      let (client, server) = try world.connected()
      let (there, back) = (pattern(count, seed: 1), pattern(count, seed: 2))
      client.send(there, end: true)
      server.send(back, end: true)
      let isOver = world.run(seconds: 600) { client.isEnded && server.isEnded && client.isSent && server.isSent }
      #expect(isOver, "sent \(client.sentBytes) and \(server.sentBytes) of \(count)")
      #expect(difference(server.received, from: there) == nil)
      #expect(difference(client.received, from: back) == nil)
      #expect(client.error == nil && server.error == nil)
    }

    @Test(arguments: Wire.Style.allCases, sizes) func `every byte arrives in order, both ways`(
      style: Wire.Style, count: Int
    ) throws {
      try World.with(style: style) { try exchange(count, in: $0) }
    }

    @Test(.enabled(if: ringIsAvailable, "io_uring is not available here"), arguments: sizes)
    func `every byte arrives in order over a hub`(count: Int) throws {
      try World.with([["10.0.0.1/24"], ["10.0.0.2/24"]], medium: { try HubMedium(frames: $0) }) {
        try exchange(count, in: $0)
      }
    }

    @Test(arguments: ["fd00::2", "10.0.0.2"]) func `both families carry bulk on one interface`(target: String) throws {
      try World.with([["10.0.0.1/24", "fd00::1/64"], ["10.0.0.2/24", "fd00::2/64"]]) { world in
        #expect(world.run(seconds: 10) { world.hosts.allSatisfy { !$0.interface.hasTentativeAddresses } })
        let (client, server) = try world.connected(address: IPAddress(target)!)
        let bytes = pattern(3_000_000)
        client.send(bytes, end: true)
        #expect(world.run(seconds: 60) { server.isEnded })
        #expect(difference(server.received, from: bytes) == nil)
      }
    }

    @Test(arguments: [1500, 1280, 9000, 65_000]) func `every MTU carries bulk`(mtu: Int) throws {
      try World.with(style: .card, mtu: mtu) { world in
        world.wire.isCapturing = true
        try exchange(400_000, in: world)
        let longest = world.wire.takeCaptured().flatMap { $0.segmented() }.map { $0.bytes.count - 14 }.max()
        #expect(longest ?? 0 <= mtu)
      }
    }

    @Test func `thousands of small writes arrive as one stream`() throws {
      try World.with { world in
        let (client, server) = try world.connected()
        let bytes = pattern(30_000)
        for start in stride(from: 0, to: bytes.count, by: 7) {
          client.send(Array(bytes[start..<min(start + 7, bytes.count)]), end: start + 7 >= bytes.count)
        }
        #expect(world.run(seconds: 60) { server.isEnded })
        #expect(difference(server.received, from: bytes) == nil)
      }
    }

    @Test func `many connections move bulk side by side`() throws {
      try World.with { world in
        let service = try world.listen(1)
        let clients = try (0..<20).map { _ in try world.connect(0, to: world.hosts[1].address()) }
        for (number, client) in clients.enumerated() { client.send(pattern(300_000, seed: UInt64(number)), end: true) }
        #expect(world.run(seconds: 60) { service.accepted.count == 20 && service.accepted.allSatisfy { $0.isEnded } })
        let sums = Set(service.accepted.map(\.received))
        #expect(sums == Set((0..<20).map { pattern(300_000, seed: $0) }))
      }
    }

    @Test func `a link that refuses frames for a while loses nothing`() throws {
      try World.with { world in
        let (client, server) = try world.connected()
        let bytes = pattern(2_000_000)
        client.send(bytes, end: true)
        for _ in 0..<20 {
          world.run(seconds: 0.0005) { server.isEnded }
          world.wire.refusals = 5
          world.run(seconds: 0.0002) { server.isEnded }
          world.stack.linkReady()
        }
        #expect(world.run(seconds: 60) { server.isEnded })
        #expect(difference(server.received, from: bytes) == nil)
        #expect(world.hosts[0].interface.counters.linkFull + world.hosts[1].interface.counters.linkFull > 0)
      }
    }
  }

  /// What the network does to frames, from a seed; the stack has to make it good.
  @Suite struct FaultyWires {
    private static let seeds: [UInt64] = [1, 2]

    private func sweep(_ style: Wire.Style, _ faults: Faults, bytes count: Int = 1_000_000) throws {
      try World.with(style: style) { world in
        let (client, server) = try world.connected()
        world.wire.faults = faults
        let (there, back) = (pattern(count, seed: 3), pattern(count / 4, seed: 4))
        client.send(there, end: true)
        server.send(back, end: true)
        let start = world.now
        let isOver = world.run(seconds: 3600) { client.isEnded && server.isEnded || client.isOver || server.isOver }
        let seconds = Double(world.now - start) / 1e9
        #expect(
          isOver, "not done in an hour: \(server.received.count) of \(count), \(client.received.count) of \(count / 4)")
        #expect(client.error == nil && server.error == nil)
        #expect(difference(server.received, from: there) == nil)
        #expect(difference(client.received, from: back) == nil)
        if faults.loss + faults.corruption > 0 { #expect(seconds > 0.0001) }
      }
    }

    @Test(arguments: Wire.Style.allCases, [0, 1, 5, 10]) func `losses are made good`(
      style: Wire.Style, loss: Int
    ) throws {
      for seed in Self.seeds { try sweep(style, Faults(loss: loss, seed: seed)) }
    }

    @Test(arguments: Wire.Style.allCases) func `duplicates are taken once`(style: Wire.Style) throws {
      for seed in Self.seeds { try sweep(style, Faults(duplication: 20, seed: seed)) }
    }

    @Test(arguments: Wire.Style.allCases) func `reordered segments are put in order`(style: Wire.Style) throws {
      for seed in Self.seeds { try sweep(style, Faults(reordering: 20, seed: seed)) }
    }

    @Test(arguments: Wire.Style.allCases) func `all of it at once`(style: Wire.Style) throws {
      for seed in Self.seeds { try sweep(style, Faults(loss: 5, duplication: 5, reordering: 10, seed: seed)) }
    }

    /// Only where sums are whole on the wire; between two TAPs of a kernel nothing verifies them, as nothing can be damaged.
    @Test(arguments: [Wire.Style.card, .plain]) func `damaged segments are noticed and sent again`(
      style: Wire.Style
    ) throws {
      for seed in Self.seeds { try sweep(style, Faults(corruption: 3, seed: seed)) }
    }

    @Test(arguments: [10, 30]) func `connections come about in spite of losses`(loss: Int) throws {
      try World.with(faults: Faults(loss: loss, seed: 5)) { world in
        let service = try world.listen(1)
        let clients = try (0..<30).map { _ in try world.connect(0, to: world.hosts[1].address()) }
        for client in clients { client.send("hello", end: true) }
        #expect(world.run(seconds: 900) { clients.allSatisfy { $0.isEstablished } })
        #expect(world.run(seconds: 900) { service.accepted.filter { $0.isEnded && $0.text == "hello" }.count == 30 })
      }
    }

    /// One lost frame in bulk must cost about a round trip or the least time-out, not a second.
    @Test func `a single loss is made good fast`() throws {
      try World.with(style: .card) { world in
        let (client, server) = try world.connected()
        let bytes = pattern(2_000_000)
        var count = 0
        world.wire.swallows = {
          guard $0.origin == 0, $0.payloadBytes > 1000 else { return false }
          count += 1
          return count == 300
        }
        let start = world.now
        client.send(bytes, end: true)
        #expect(world.run(seconds: 60) { server.isEnded })
        #expect(world.wire.lostCount == 1)
        #expect(difference(server.received, from: bytes) == nil)
        #expect(Double(world.now - start) / 1e9 < 0.5)
      }
    }
  }
}
