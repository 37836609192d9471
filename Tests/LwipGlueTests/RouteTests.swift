import Testing

@testable import LwipGlue

private func address(_ text: String) -> IPAddress { IPAddress(text)! }

private func route(_ destination: String, via gateway: String? = nil) -> Route {
  Route(destination: InterfaceAddress(cidr: destination), gateway: gateway.map(address))
}

@Suite struct RouteTableTests {
  @Test func `the longest prefix wins, whatever the order`() {
    let routes = [
      route("0.0.0.0/0", via: "10.0.0.1"), route("10.0.0.0/8", via: "10.0.0.2"), route("10.1.0.0/16", via: "10.0.0.3"),
      route("10.1.2.3/32"), route("::/0", via: "fe80::1"), route("fd00::/8", via: "fe80::2"),
    ]
    for order in [routes, routes.reversed()] {
      var table = RouteTable()
      for route in order { table.add(route) }
      func gateway(_ text: String) -> String? { table.route(to: address(text))?.gateway?.description }
      #expect(gateway("192.0.2.1") == "10.0.0.1")
      #expect(gateway("10.255.0.1") == "10.0.0.2")
      #expect(gateway("10.1.2.4") == "10.0.0.3")
      #expect(table.route(to: address("10.1.2.3")) == route("10.1.2.3/32"))
      #expect(gateway("2001:db8::1") == "fe80::1")
      #expect(gateway("fd12::1") == "fe80::2")
    }
  }

  @Test func `of equal prefixes the first stays until it is removed`() {
    var table = RouteTable()
    table.add(route("10.0.0.0/8", via: "10.0.0.1"))
    table.add(route("10.0.0.0/8", via: "10.0.0.2"))
    #expect(table.route(to: address("10.9.9.9"))?.gateway == address("10.0.0.1"))
    table.remove(route("10.0.0.0/8", via: "10.0.0.1"))
    #expect(table.route(to: address("10.9.9.9"))?.gateway == address("10.0.0.2"))
    table.remove(route("10.0.0.0/8", via: "10.0.0.2"))
    #expect(table.route(to: address("10.9.9.9")) == nil)
  }
}

extension StackTests {
  @Suite struct Routes {
    @Test func `subnets, routes and gateways are one order`() throws {
      try World.with([["10.0.0.1/8", "10.1.0.1/24", "fd00::1/64"], ["10.0.0.2/8"]]) { world in
        let interface = world.hosts[0].interface!
        func hop(_ text: String) -> String? { interface.nextHop(to: address(text))?.description }
        #expect(hop("10.9.9.9") == "10.9.9.9")
        #expect(hop("192.0.2.1") == nil && !interface.hasRoute(to: address("192.0.2.1")))
        interface.add(route("10.9.0.0/16", via: "10.0.0.7"))
        interface.add(.byDefault(via: address("10.1.0.9")))
        interface.add(route("fd00::100/120", via: "fd00::9"))
        #expect(hop("10.9.9.9") == "10.0.0.7", "longer than the subnet's prefix")
        #expect(hop("10.1.0.77") == "10.1.0.77")
        #expect(hop("192.0.2.1") == "10.1.0.9")
        #expect(interface.sourceAddress(for: address("192.0.2.1")) == address("10.1.0.1"), "of the gateway's subnet")
        #expect(interface.sourceAddress(for: address("10.9.9.9")) == address("10.0.0.1"))
        #expect(hop("fd00::155") == "fd00::9")
        #expect(hop("fd00::55") == "fd00::55")
        #expect(hop("2001:db8::1") == nil)
        #expect(hop("fe80::77") == "fe80::77")
      }
    }

    @Test func `what a link assigns comes and goes`() throws {
      try World.with { world in
        let interface = world.hosts[0].interface!
        let learned = ["172.16.0.5/12", "fd99::5/64"].map { InterfaceAddress(cidr: $0) }
        interface.assign(addresses: learned, routes: [route("192.0.2.0/24", via: "172.16.0.1")], by: .link)
        #expect(interface.owns(address("172.16.0.5")) && interface.owns(address("fd99::5")))
        #expect(interface.nextHop(to: address("192.0.2.9")) == address("172.16.0.1"))
        #expect(interface.sourceAddress(for: address("192.0.2.9")) == address("172.16.0.5"))
        interface.assign(addresses: [learned[0]], routes: [], by: .link)
        #expect(interface.owns(address("172.16.0.5")) && !interface.owns(address("fd99::5")))
        #expect(!interface.hasRoute(to: address("192.0.2.9")))
        interface.assign(addresses: [], routes: [], by: .link)
        #expect(interface.addresses.map(\.description) == ["10.0.0.1/24", "::1/128"])
      }
    }

    @Test func `a connection goes by way of the route's gateway`() throws {
      // The second host has the far address and plays its own router.
      try World.with([["10.0.0.1/24"], ["10.0.0.2/24", "10.0.1.1/24", "192.0.2.1/32"]]) { world in
        world.hosts[0].interface.add(route("192.0.2.0/24", via: "10.0.0.2"))
        world.hosts[0].interface.add(route("10.0.0.128/25", via: "10.0.0.2"))
        world.hosts[1].interface.add(.byDefault(via: address("10.0.0.1")))
        let (client, server) = try world.connected(address: address("192.0.2.1"))
        client.send("far", end: true)
        #expect(world.run(seconds: 5) { server.isEnded })
        #expect(server.text == "far")
        world.wire.isCapturing = true
        // Off the subnet's first half: lwIP alone would look for the neighbour.
        _ = try world.connect(0, to: address("10.0.0.200"))
        world.run(seconds: 1)
        let asked = world.wire.takeCaptured().filter { $0.origin == 0 && $0.bytes[12...13] == [8, 6] }
        #expect(asked.isEmpty, "the gateway is known already, and nobody else is asked for")
      }
    }
  }
}
