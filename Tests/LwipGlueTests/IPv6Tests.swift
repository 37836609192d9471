import Glibc
@testable import LwipGlue
import Testing

extension StackTests {
  @Suite struct IPv6 {
    private static let hosts = [["fd00::1/64", "10.0.0.1/24"], ["fd00::2/64", "10.0.0.2/24"]]

    private func settle(_ world: World) {
      let isSettled = world.run(seconds: 20) { world.hosts.allSatisfy { !$0.interface.hasTentativeAddresses } }
      #expect(isSettled)
    }

    @Test func `addresses are tentative until nobody has objected for a second`() throws {
      try World.with(Self.hosts) { world in
        world.wire.isCapturing = true
        #expect(world.hosts.allSatisfy { $0.interface.hasTentativeAddresses })
        let start = world.now
        settle(world)
        #expect((0.5...4).contains(Double(world.now - start) / 1e9))
        let probes = world.wire.takeCaptured().filter { $0.isV6 && $0.transport == 58 && $0.u8(54) == 135 }
        // They come from :: (RFC 4862 section 5.4.2).
        #expect(probes.contains { $0.origin == 0 && $0.bytes[22..<38].allSatisfy { $0 == 0 } })
        #expect(world.hosts.allSatisfy { $0.interface.duplicatedAddresses.isEmpty })
      }
    }

    @Test func `an address that another host has is found out`() throws {
      try World.with([["fd00::1/64"], ["fd00::1/64"]]) { world in
        settle(world)
        let duplicated = world.hosts.map(\.interface.duplicatedAddresses)
        #expect(duplicated.contains([IPAddress("fd00::1")!]))
      }
    }

    @Test func `hosts connect once detection is over`() throws {
      try World.with(Self.hosts) { world in
        settle(world)
        let (client, server) = try world.connected(address: IPAddress("fd00::2")!)
        client.send("six", end: true)
        #expect(world.run(seconds: 5) { server.isEnded })
        #expect(server.text == "six")
        #expect(world.stack.endpoints(of: server.key)?.remote.address == IPAddress("fd00::1"))
      }
    }

    @Test func `hosts connect by link-local addresses`() throws {
      try World.with(Self.hosts) { world in
        world.run(seconds: 5)
        let target = world.hosts[1].interface.linkLocal
        #expect(target == IPAddress("fe80::ff:fe00:2"))
        let (client, server) = try world.connected(address: target)
        client.send("local", end: true)
        #expect(world.run(seconds: 5) { server.isEnded })
        #expect(world.stack.endpoints(of: client.key)?.local.address == world.hosts[0].interface.linkLocal)
      }
    }

    @Test func `a dual listener takes both families, one for IPv6 only does not`() throws {
      try World.with(Self.hosts) { world in
        settle(world)
        let dual = try world.listen(1, port: 80, on: .anyV6)
        _ = try world.listen(1, port: 81, on: .anyV6, v6Only: true)
        let four = try world.connect(0, to: IPAddress("10.0.0.2")!)
        let six = try world.connect(0, to: IPAddress("fd00::2")!)
        let refused = try world.connect(0, to: IPAddress("10.0.0.2")!, port: 81)
        let only = try world.connect(0, to: IPAddress("fd00::2")!, port: 81)
        #expect(
          world.run(seconds: 5) {
            four.isEstablished && six.isEstablished && refused.isOver && only.isEstablished && dual.accepted.count == 2
          })
        #expect(refused.error == ECONNREFUSED)
        #expect(
          Set(dual.accepted.compactMap { world.stack.endpoints(of: $0.key)?.remote.address.isV6 }) == [true, false])
      }
    }

    @Test func `a closed port refuses and an absent host times out`() throws {
      try World.with(Self.hosts) { world in
        settle(world)
        let closed = try world.connect(0, to: IPAddress("fd00::2")!, port: 9)
        #expect(world.run(seconds: 5) { closed.isOver })
        #expect(closed.error == ECONNREFUSED)
        let absent = try world.connect(0, to: IPAddress("fd00::99")!)
        #expect(world.run(seconds: 300) { absent.isOver })
        #expect([ETIMEDOUT, EHOSTUNREACH].contains(absent.error ?? 0))
      }
    }

    @Test func `sixteen addresses fit, all of them serve`() throws {
      let many = (1...16).map { "fd00::\($0):1/64" }
      try World.with([["fd00::1/64"], many]) { world in
        settle(world)
        let service = try world.listen(1, on: .anyV6)
        let clients = try many.map { try world.connect(0, to: InterfaceAddress(cidr: $0).address) }
        #expect(world.run(seconds: 10) { clients.allSatisfy { $0.isEstablished } && service.accepted.count == 16 })
      }
    }
  }

  @Suite struct TimeWait {
    @Test func `the side that closes first keeps the ports for 2 MSL`() throws {
      try World.with { world in
        let (client, server) = try world.connected()
        let port = world.stack.endpoints(of: client.key)?.local.port ?? 0
        client.close()
        #expect(world.run(seconds: 5) { server.isEnded })
        server.close()
        world.run(seconds: 0.1)
        #expect(throws: StackError(EADDRNOTAVAIL)) {
          _ = try world.connect(0, to: world.hosts[1].address(), localPort: port)
        }
        world.run(seconds: 40)
        let again = try world.connect(0, to: world.hosts[1].address(), localPort: port)
        #expect(world.run(seconds: 5) { again.isEstablished })
      }
    }

    @Test func `a server in TIME_WAIT takes the same client's next connection`() throws {
      try World.with { world in
        let (client, server) = try world.connected()
        let port = world.stack.endpoints(of: client.key)?.local.port ?? 0
        server.close()
        #expect(world.run(seconds: 5) { client.isEnded })
        client.close()
        world.run(seconds: 2)
        let again = try world.connect(0, to: world.hosts[1].address(), localPort: port)
        again.send("anew", end: true)
        let service = try #require(world.services.values.first)
        #expect(world.run(seconds: 20) { service.accepted.count == 2 && service.accepted[1].isEnded })
        #expect(service.accepted.last?.text == "anew")
      }
    }
  }
}
