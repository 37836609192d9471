import TestSupport
import Testing

extension SystemTests {
  /// SIGKILL leaves the daemon no chance to tell anyone: the apps must notice by themselves, within a second.
  @Suite struct DaemonDeath {
    private static let boundSeconds = 1.0

    /// A connection between two agents on a hub, as `c` and `s`.
    private func connected(_ stage: HubStage) throws -> (client: SocketAgent, server: SocketAgent) {
      let (server, client) = (try SocketAgent(stage.onLeft), try SocketAgent(stage.onRight))
      try server.accept(client, at: Address.left)
      return (client, server)
    }

    @Test("in mid-transfer: sender and receiver get an error or the end within a second")
    func midTransfer() throws {
      let stage = try HubStage()
      let (client, server) = try connected(stage)
      try server.begin("recvall s")
      let before = try stage.daemon.cpuSeconds()
      try client.begin("sendforever c 20")
      try waitUntil("a transfer under way", seconds: 10) { try stage.daemon.cpuSeconds() > before + 0.1 }
      stage.daemon.kill()
      let sent = try client.answer(seconds: DaemonDeath.boundSeconds)
      #expect(["error EPIPE", "error ECONNRESET"].contains(sent), "sender: \(sent)")
      let received = try server.answer(seconds: DaemonDeath.boundSeconds)
      #expect(received.hasPrefix("ok ") || received == "error ECONNRESET", "receiver: \(received)")
    }

    @Test("in mid-transfer over a tap", .needsTap)
    func midTransferOverTap() throws {
      let stage = try TapStage()
      let (peer, app) = (try SocketAgent(stage.kernel), try SocketAgent(stage.app))
      try peer.accept(app, at: Address.peer)
      try peer.begin("recvall s")
      let before = try stage.daemon.cpuSeconds()
      try app.begin("sendforever c 20")
      try waitUntil("a transfer under way", seconds: 10) { try stage.daemon.cpuSeconds() > before + 0.1 }
      stage.daemon.kill()
      let sent = try app.answer(seconds: DaemonDeath.boundSeconds)
      #expect(["error EPIPE", "error ECONNRESET"].contains(sent), "sender: \(sent)")
    }

    @Test(
      "while the app waits: nothing hangs",
      arguments: ["recv c 1", "poll idle 20000", "accept l2 x", "connect lost 10.77.1.99 9"])
    func waiting(request: String) throws {
      let stage = try HubStage()
      let (client, _) = try connected(stage)
      try client.must("socket idle")
      try client.must("socket l2")
      try client.must("bind l2 \(Address.right) 7001")
      try client.must("listen l2")
      try client.must("socket lost")
      if request.hasPrefix("poll") {
        // A connected socket that reads nothing and whose buffer is full would be silent: the pending one is.
        try client.must("unblock idle")
        _ = try client.ask("connect idle 10.77.1.99 9")
      }
      try client.begin(request)
      stage.daemon.kill()
      let answer = try client.answer(seconds: DaemonDeath.boundSeconds)
      switch request.prefix(4) {
      case "recv": #expect(answer.hasPrefix("ok 0") || answer.hasPrefix("error"), "\(answer)")
      case "poll": #expect(answer.hasPrefix("ok ") && answer != "ok 0", "\(answer)")
      default: #expect(answer.hasPrefix("error"), "\(request): \(answer)")
      }
    }

    @Test("socket() gives ENETDOWN until a daemon is back, then all works, in the same process")
    func comesBack() throws {
      let stage = try HubStage()
      let (client, server) = try connected(stage)
      stage.daemon.kill()
      for agent in [client, server] {
        for _ in 0..<3 { #expect(try agent.ask("rawsocket", seconds: 2) == "error ENETDOWN") }
      }
      try stage.restart()
      try server.must("socket l2")
      try server.must("bind l2 \(Address.left) 7000")
      try server.must("listen l2")
      try client.must("socket c2")
      try client.must("connect c2 \(Address.left) 7000")
      try server.must("accept l2 s2")
      let sum = try client.must("send c2 5 1000000")
      try client.must("close c2")
      #expect(try server.must("recvall s2") == "1000000 \(sum)")
    }
  }
}
