import TestSupport
import Testing

extension SystemTests {
  @Suite struct Routes {
    @Test("route= lines beside the gateway: the longest prefix decides, IPv4 and IPv6", .needsTap)
    func severalRoutes() throws {
      // The gateways are absent hosts: what arrives has gone by another route.
      let stage = try TapStage(
        ipv6: true,
        lines: [
          "gateway=10.77.2.99", "gateway=fd77:2::99", "route=10.91.0.0/16 via \(Address.peer)",
          "route=10.91.7.0/24 via 10.77.2.98", "route=10.93.0.1/32", "route=fd91::/32 via \(Address.peer6)",
        ])
      for address in ["10.91.0.1/32", "10.91.7.1/32", "10.92.0.1/32", "10.93.0.1/32"] {
        try stage.namespace.ip(["address", "add", address, "dev", "lo"])
      }
      try stage.namespace.ip(["-6", "address", "add", "fd91::1/128", "dev", "lo", "nodad"])
      let peer = try SocketAgent(stage.kernel)
      let app = try SocketAgent(stage.app)
      for (name, family, any) in [("l", "4", "0.0.0.0"), ("m", "6", "::")] {
        try peer.must("socket \(name) \(family)")
        try peer.must("bind \(name) \(any) \(family == "4" ? 7000 : 7001)")
        try peer.must("listen \(name)")
      }
      try app.must("socket a")
      try app.must("connect a 10.91.0.1 7000")
      #expect(try app.must("local a").hasPrefix(Address.app + " "))
      try app.must("socket b")
      try app.must("connect b 10.93.0.1 7000")
      try app.must("socket c 6")
      try app.must("connect c fd91::1 7001")
      for unreachable in ["10.91.7.1", "10.92.0.1"] {
        try app.must("socket d")
        #expect(try app.ask("connect d \(unreachable) 7000", seconds: 20) == "error EHOSTUNREACH")
        try app.must("close d")
      }
    }
  }
}
