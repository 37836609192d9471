import Glibc
import TestSupport
import Testing

extension SystemTests {
  /// Networks of one daemon share nothing but the process.
  @Suite struct Isolation {
    @Test("two hubs of one daemon: no way across, and no clash of ports or addresses")
    func hubs() throws {
      let binaries = try Binaries.located()
      // Same subnet, same addresses, different wires; `beside` proves that the port answers where it should.
      let first = NetworkConfiguration(link: "hub:first", addresses: ["\(Address.left)/24"])
      let beside = NetworkConfiguration(link: "hub:first", addresses: ["\(Address.right)/24"])
      let second = NetworkConfiguration(link: "hub:second", addresses: ["\(Address.left)/24"])
      let lonely = NetworkConfiguration(link: "hub:third", addresses: ["\(Address.right)/24"])
      let home = try TemporaryHome([first, beside, second, lonely])
      let daemon = try DaemonProcess(home, binaries: binaries)
      func agent(_ network: NetworkConfiguration) throws -> SocketAgent {
        try SocketAgent { daemon.intercepted($0, on: network) }
      }
      let (one, two) = (try agent(first), try agent(second))
      for server in [one, two] {
        try server.must("socket l")
        try server.must("bind l 0.0.0.0 7000")
        try server.must("listen l")
      }
      let neighbour = try agent(beside)
      try neighbour.must("socket c")
      #expect(try neighbour.must("connectnow c \(Address.left) 7000") == "OK")
      let peer = try one.must("accept l s")
      #expect(peer.hasPrefix(Address.right + " "))
      #expect(try two.must("poll l 200") == "0", "the other network's listener of the same name stays silent")
      let stranger = try agent(lonely)
      try stranger.must("socket c")
      let outcome = try stranger.must("connectnow c \(Address.left) 7000 2500")
      #expect(outcome != "OK" && outcome != "ECONNREFUSED", "reached another network: \(outcome)")
    }

    @Test("a socket of one network is none on another's RPC")
    func socketsStay() throws {
      let stage = try HubStage()
      let (left, right) = (
        try RPCClient(stage.home.socketPath(stage.left)), try RPCClient(stage.home.socketPath(stage.right))
      )
      let socket = try left.openSocket()
      defer { close(socket) }
      #expect(try left.bind(socket, port: 7100) == 0)
      #expect(try right.bind(socket, port: 7100) == ENOTSOCK)
    }

    @Test("a port in use on one network is free on the other, and taken where it is used")
    func ports() throws {
      let stage = try HubStage()
      let (left, right) = (try SocketAgent(stage.onLeft), try SocketAgent(stage.onRight))
      for agent in [left, right] {
        try agent.must("socket a")
        try agent.must("bind a 0.0.0.0 7000")
        try agent.must("listen a")
      }
      try left.must("socket b")
      #expect(try left.ask("bind b 0.0.0.0 7000") == "error EADDRINUSE")
    }
  }
}
