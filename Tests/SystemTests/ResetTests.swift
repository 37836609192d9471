import TestSupport
import Testing

extension SystemTests {
  /// A connection that was cut must not look like one that ended: ECONNRESET, behind the bytes that came before it.
  @Suite struct Resets {
    enum AppRole: String, CaseIterable { case client, server }

    /// A connection over the tap: the app's agent has it as `a`, the peer's as `p`.
    private func connected(_ stage: TapStage, _ role: AppRole) throws -> (app: SocketAgent, peer: SocketAgent) {
      let (peer, app) = (try SocketAgent(stage.kernel), try SocketAgent(stage.app))
      let isServer = role == .server
      let (server, client) = isServer ? (app, peer) : (peer, app)
      let address = isServer ? Address.app : Address.peer
      try server.must("socket l")
      try server.must("bind l \(address) 7000")
      try server.must("listen l")
      try client.must("socket \(isServer ? "p" : "a")")
      try client.must("connect \(isServer ? "p" : "a") \(address) 7000")
      try server.must("accept l \(isServer ? "a" : "p")")
      return (app, peer)
    }

    @Test("the peer resets: the app reads what came before, then ECONNRESET", .needsTap, arguments: AppRole.allCases)
    func peerResets(role: AppRole) throws {
      let stage = try TapStage()
      let (app, peer) = try connected(stage, role)
      try peer.must("send p 1 1000")
      #expect(try app.must("recv a 1000").hasPrefix("1000 "))
      try app.begin("recv a 1")
      try peer.must("reset p")
      #expect(try app.answer(seconds: 5) == "error ECONNRESET")
    }

    @Test(
      "after a reset, or shut down both ways, a connection's own address can still be asked for", .needsTap,
      arguments: AppRole.allCases)
    func localAddressAfterEnd(role: AppRole) throws {
      let stage = try TapStage()
      let (app, peer) = try connected(stage, role)
      try app.begin("recv a 1")
      try peer.must("reset p")
      #expect(try app.answer(seconds: 5) == "error ECONNRESET")
      #expect(try app.must("local a").hasPrefix(Address.app + " "))
      let another = try TapStage()
      let (other, _) = try connected(another, role)
      try other.must("shutdown a rdwr")
      #expect(try other.must("local a").hasPrefix(Address.app + " "))
    }

    @Test("where the daemon may not trace the app, a reset looks like an end, and is counted", .needs("setpriv"))
    func untold() throws {
      let binaries = try Binaries.located()
      let hub = "hub:h" + UniqueName.suffix()
      let (left, right) = (
        NetworkConfiguration(link: hub, addresses: ["\(Address.left)/24"]),
        NetworkConfiguration(link: hub, addresses: ["\(Address.right)/24"])
      )
      let home = try TemporaryHome([left, right])
      // Without this capability, and with fewer than its apps have.
      let daemon = try DaemonProcess(
        home, binaries: binaries, through: ["setpriv", "--bounding-set=-sys_ptrace", "--inh-caps=-all"])
      let cli = try Cli(home, binaries)
      let (app, peer) = (
        try SocketAgent { daemon.intercepted($0, on: left) }, try SocketAgent { daemon.intercepted($0, on: right) }
      )
      try app.accept(peer, at: Address.left)
      #expect(try cli.metric("netcond_errors_untold_total") == 0)
      try app.begin("recv s 1")
      try peer.must("reset c")
      #expect(try app.answer(seconds: 10).hasPrefix("ok 0 "))
      #expect(try cli.metric("netcond_errors_untold_total") == 1)
      #expect(daemon.standardError.contains("CAP_SYS_PTRACE"))
    }

    @Test("the peer resets behind unread bytes: they are not lost", .needsTap, arguments: AppRole.allCases)
    func peerResetsBehindData(role: AppRole) throws {
      let stage = try TapStage()
      let (app, peer) = try connected(stage, role)
      try peer.must("send p 1 1000")
      #expect(try app.must("recv a 1").hasPrefix("1 "))  // all 1,000 bytes have come, in one segment
      try peer.must("reset p")
      #expect(try app.must("recv a 999").hasPrefix("999 "))
      #expect(try app.ask("recv a 1") == "error ECONNRESET")
    }

    @Test("the app resets: the peer gets ECONNRESET", .needsTap, arguments: AppRole.allCases)
    func appResets(role: AppRole) throws {
      let stage = try TapStage()
      let (app, peer) = try connected(stage, role)
      try peer.begin("recv p 1")
      try app.must("reset a")
      #expect(try peer.answer(seconds: 5) == "error ECONNRESET")
    }

    @Test("the app closes with bytes unread: the peer gets ECONNRESET", .needsTap, arguments: AppRole.allCases)
    func appClosesWithUnread(role: AppRole) throws {
      let stage = try TapStage()
      let (app, peer) = try connected(stage, role)
      try peer.must("send p 1 1000")
      #expect(try app.must("recv a 1").hasPrefix("1 "))
      try peer.begin("recv p 1")
      try app.must("close a")
      #expect(try peer.answer(seconds: 5) == "error ECONNRESET")
    }
  }
}
