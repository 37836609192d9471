import TestSupport
import Testing

extension SystemTests {
  @Suite struct ByteExactness {
    static let sizes = [0, 1, 1460, 65_535, 65_536, 65_537, 10_000_000]

    @Test("over a hub, all directions and ways to close", arguments: sizes)
    func hub(bytes: Int) throws { try HubStage().exchange.checkAll(bytes: bytes) }

    @Test("over a tap, the app as client", .needsTap, arguments: sizes)
    func tapClient(bytes: Int) throws { try TapStage().appAsClient.checkAll(bytes: bytes) }

    @Test("over a tap, the app as server", .needsTap, arguments: sizes)
    func tapServer(bytes: Int) throws { try TapStage().appAsServer.checkAll(bytes: bytes) }

    @Test("IPv6 over a tap, 10 MB", .needsTap)
    func tapIPv6() throws {
      let stage = try TapStage(ipv6: true)
      try Exchange(
        binaries: stage.binaries, serverAddress: Address.peer6, serverSide: stage.kernel, clientSide: stage.app
      ).checkAll(bytes: 10_000_000)
      try Exchange(
        binaries: stage.binaries, serverAddress: Address.app6, serverSide: stage.app, clientSide: stage.kernel
      ).checkAll(bytes: 10_000_000)
    }

    @Test("1 GiB over a tap", .needsTap, arguments: ["bulk-send", "bulk-receive"])
    func gibibyteOverTap(direction: String) throws {
      try TapStage().appAsClient.check([direction], bytes: 1 << 30)
    }

    @Test("1 GiB over a hub")
    func gibibyteOverHub() throws { try HubStage().exchange.check(["bulk-send"], bytes: 1 << 30) }

    @Test("100 times 10 MB over a hub", arguments: ["bulk-send", "bulk-receive"])
    func hundredOverHub(direction: String) throws {
      try HubStage().exchange.check([direction, "--close-first", "server"], bytes: 10_000_000, count: 100)
    }

    @Test("100 times 10 MB over a tap", .needsTap, arguments: ["bulk-send", "bulk-receive"])
    func hundredOverTap(direction: String) throws {
      let stage = try TapStage()
      try stage.appAsClient.check([direction, "--close-first", "server"], bytes: 10_000_000, count: 100)
      try stage.appAsServer.check([direction, "--close-first", "client"], bytes: 10_000_000, count: 100)
    }

    @Test("with Linux 6.1's io_uring, both ways", .needsTap)
    func baselineRing() throws {
      let stage = try TapStage(environment: ["NETCOND_URING_BASELINE": "1"])
      try stage.appAsClient.checkAll(bytes: 10_000_000)
      try stage.appAsServer.checkAll(bytes: 10_000_000)
      let hub = try HubStage(environment: ["NETCOND_URING_BASELINE": "1"])
      try hub.exchange.checkAll(bytes: 10_000_000)
    }
  }
}
