@testable import LwipGlue
import Testing

extension StackTests {
  /// What a segment and a tick cost, counted in control blocks: never those of connections that are idle.
  @Suite struct ControlBlocks {
    private static let count = 3000

    private func idle(_ world: World) throws -> (clients: [Peer], service: Service) {
      let service = try world.listen(1)
      var clients: [Peer] = []
      for _ in 0..<(Self.count / 100) {  // a listener has room for so many half-open ones
        for _ in 0..<100 { clients.append(try world.connect(0, to: world.hosts[1].address())) }
        #expect(world.run(seconds: 10) { service.accepted.count == clients.count })
      }
      #expect(world.run(seconds: 5) { world.stack.blocks.busyCount == 0 }, "established and idle")
      return (clients, service)
    }

    @Test func `idle connections are no work for the timers`() throws {
      try World.with { world in
        let (clients, service) = try idle(world)
        #expect(world.stack.blocks.count == 2 * Self.count)
        clients[Self.count / 2].send("question")
        #expect(world.stack.blocks.busyCount == 1, "the one that sends")
        #expect(world.run(seconds: 5) { service.accepted.contains { $0.text == "question" } })
        #expect(world.stack.blocks.busyCount <= 2)
        #expect(world.run(seconds: 5) { world.stack.blocks.busyCount == 0 })
      }
    }

    @Test func `each of many connections is found, and gone when it is closed`() throws {
      try World.with([["10.0.0.1/24", "fd00::1/64"], ["10.0.0.2/24", "fd00::2/64"]]) { world in
        let (clients, service) = try idle(world)
        for (number, client) in clients.enumerated() { client.send("\(number)", end: true) }
        #expect(world.run(seconds: 60) { service.accepted.allSatisfy(\.isEnded) })
        let texts = Set(service.accepted.map(\.text))
        let areAllThere = texts == Set((0..<Self.count).map(String.init))
        #expect(areAllThere)
        for server in service.accepted { server.close() }
        for client in clients { client.close() }
        world.run(seconds: 5)
        #expect(world.stack.blocks.count == 0)
        #expect(world.stack.blocks.busyCount == 0)
        #expect(world.stack.timeWait.count == Self.count)
        world.run(seconds: 60)
        #expect(world.stack.timeWait.isEmpty)
      }
    }

    @Test func `those in TIME_WAIT end in the order they came, also where new ones have taken places`() throws {
      try World.with { world in
        let service = try world.listen(1)
        let count = 1500

        /// Connections from the same ports; the server closes first.
        func churn(_ ports: Range<Int>) throws {
          for start in stride(from: ports.lowerBound, to: ports.upperBound, by: 100) {
            let clients = try (start..<min(start + 100, ports.upperBound)).map {
              try world.connect(0, to: world.hosts[1].address(), localPort: UInt16($0))
            }
            let before = service.accepted.count
            #expect(world.run(seconds: 1) { service.accepted.count == before + clients.count })
            for server in service.accepted[before...] { server.close() }
            #expect(world.run(seconds: 1) { clients.allSatisfy(\.isEnded) })
            for client in clients { client.close() }
            #expect(world.run(seconds: 1) { world.stack.blocks.count == 0 })
          }
        }
        let first = 20_000, all = first..<first + count
        try churn(all)
        #expect(world.stack.timeWait.count == count)
        world.run(seconds: 10)
        for _ in 0..<3 { try churn(all.dropFirst()) }
        #expect(world.stack.timeWait.count == count, "each has taken the place of the one before")
        #expect(world.stack.timeWait.usesPort(interfaceIndex: world.hosts[1].interface.index, 80))
        world.run(seconds: 21)
        #expect(world.stack.timeWait.count == count - 1, "the one that nobody has replaced, after 30 s")
        world.run(seconds: 31)
        #expect(world.stack.timeWait.isEmpty)
        #expect(!world.stack.timeWait.usesPort(interfaceIndex: world.hosts[1].interface.index, 80))
      }
    }

    @Test func `keepalive alone is watched now and then`() throws {
      try World.with { world in
        let (clients, _) = try idle(world)
        for client in clients { world.stack.setKeepalive(client.key, on: true, idle: 10_000, interval: 2000, count: 3) }
        #expect(world.stack.blocks.watchedCount == Self.count)
        #expect(world.stack.blocks.busyCount == 0)
        world.run(seconds: 20)
        #expect(clients.allSatisfy { !$0.isOver }, "the peer answered all probes")
        world.wire.swallows = { _ in true }
        #expect(world.run(seconds: 60) { clients.allSatisfy(\.isOver) })
        #expect(world.stack.blocks.watchedCount == 0)
      }
    }

    @Test func `a listener's end leaves half-open connections nowhere to go, and nothing behind`() throws {
      try World.with { world in
        let (first, last) = try world.connected(port: 81)  // both know each other's hardware address from here on
        let service = try world.listen(1)
        world.wire.swallows = { $0.origin == 1 }  // the answers to the SYNs
        let clients = try (0..<50).map { _ in try world.connect(0, to: world.hosts[1].address()) }
        #expect(world.run(seconds: 1) { world.stack.blocks.count == 102 })
        world.stack.closeListener(service.key)
        world.services.removeAll()
        world.wire.swallows = { _ in false }
        #expect(world.run(seconds: 120) { clients.allSatisfy(\.isOver) })
        world.run(seconds: 120)
        #expect(world.stack.blocks.count == 2, "those of the first connection")
        #expect(!first.isOver && !last.isOver)
      }
    }
  }
}
