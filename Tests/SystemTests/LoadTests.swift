import BenchKit
import TestSupport
import Testing

extension SystemTests {
  /// Several connections at once, and ends that do not keep up.
  @Suite struct Load {
    /// Starts all clients, then waits for each; all must have verified.
    private func together(_ commands: [Command]) throws {
      let clients = try commands.map { try ChildProcess($0) }
      for client in clients {
        let status = try client.wait(seconds: 90)
        #expect(
          status == .exited(0), "\(client.command.arguments): \(client.standardOutput)\(client.standardError)")
      }
    }

    private func mixed(_ binaries: Binaries, _ server: BenchServer, _ wrap: (Command) -> Command) throws {
      let scenarios = ["bulk-send", "bulk-receive", "duplex", "bulk-send", "bulk-receive", "duplex"]
      let transfers = scenarios.enumerated().map { index, scenario in
        wrap(
          BenchClient.command(
            binaries, scenario, server.endpoint,
            ["--bytes", "10000000", "--count", "5", "--digest", "--seed", String(index), "--chunk", "65536"]))
      }
      let churn = wrap(
        BenchClient.command(binaries, "churn", server.endpoint, ["--count", "500", "--concurrency", "8"]))
      try together(transfers + [churn])
    }

    @Test("six transfers and eight threads of churn at once, over a hub")
    func hub() throws {
      let stage = try HubStage()
      try mixed(stage.binaries, BenchServer(stage.binaries, address: Address.left, stage.onLeft), stage.onRight)
    }

    @Test("six transfers and eight threads of churn at once, over a tap, the app on either end", .needsTap)
    func tap() throws {
      let stage = try TapStage()
      try mixed(stage.binaries, BenchServer(stage.binaries, address: Address.peer, stage.kernel), stage.app)
      try mixed(stage.binaries, BenchServer(stage.binaries, address: Address.app, stage.app), stage.kernel)
    }

    /// Waits until the daemon has used hardly any CPU time for a while (its timers tick on): all queues are full.
    private func quiet(_ daemon: DaemonProcess) throws {
      var last = -1.0
      var since = monotonicSeconds()
      try waitUntil("a daemon at rest", seconds: 20) {
        let now = try daemon.cpuSeconds()
        if now - last > 0.01 { (last, since) = (now, monotonicSeconds()) }
        return monotonicSeconds() - since > 0.3
      }
    }

    /// 40 MB at most may wait on the way (socket buffers, windows, the daemon's budget), of 200 MB sent.
    private static let heldBytes = 40 << 20

    @Test("an app that does not read: the peer is stopped, memory stays bounded, and all arrives later", .needsTap)
    func slowApp() throws {
      let stage = try TapStage()
      let (peer, app) = (try SocketAgent(stage.kernel), try SocketAgent(stage.app))
      try app.accept(peer, at: Address.app)
      let before = try stage.daemon.residentBytes()
      try peer.begin("send c 4 200000000")
      try quiet(stage.daemon)
      #expect(try stage.daemon.residentBytes() - before < Load.heldBytes)
      let got = try app.must("recv s 200000000", seconds: 60)
      #expect(try peer.answer(seconds: 10) == "ok \(got.split(separator: " ")[1])")
    }

    @Test("unread bytes wait in the pair: more once it was full, and no more than the app has asked for", .needsTap)
    func pairs() throws {
      let stage = try TapStage()
      let (app, peers) = (try SocketAgent(stage.app), try (0..<2).map { _ in try SocketAgent(stage.kernel) })
      try app.accept(peers[0], at: Address.app)
      try peers[1].must("socket c")
      try peers[1].must("connect c \(Address.app) 7000")
      try app.must("accept l chosen")
      try app.must("receivebuffer chosen 40000")
      for peer in peers { try peer.begin("send c 4 4000000") }
      func unread(_ name: String) throws -> Int { try #require(Int(app.must("unread \(name)"))) }
      // A pair holds 213 KB at first, the kernel's own structures included.
      try waitUntil("the pair holds more", seconds: 20) { try unread("s") > 250_000 }
      try quiet(stage.daemon)
      let chosen = try unread("chosen")
      #expect((1...80_000).contains(chosen))
      for (name, peer) in zip(["s", "chosen"], peers) {
        let got = try app.must("recv \(name) 4000000", seconds: 60)
        #expect(try peer.answer(seconds: 10) == "ok \(got.split(separator: " ")[1])")
      }
    }

    @Test("a peer that does not read: the app is stopped, memory stays bounded, and all arrives later", .needsTap)
    func slowPeer() throws {
      let stage = try TapStage()
      let (peer, app) = (try SocketAgent(stage.kernel), try SocketAgent(stage.app))
      try peer.accept(app, at: Address.peer)
      let before = try stage.daemon.residentBytes()
      try app.begin("send c 4 200000000")
      try quiet(stage.daemon)
      #expect(try stage.daemon.residentBytes() - before < Load.heldBytes)
      let got = try peer.must("recv s 200000000", seconds: 60)
      #expect(try app.answer(seconds: 10) == "ok \(got.split(separator: " ")[1])")
    }
  }
}
