import Glibc
import TestSupport
import Testing

extension SystemTests {
  /// TERM, INT and QUIT end the daemon in order.
  @Suite struct Shutdown {
    static let signals = [SIGTERM, SIGINT, SIGQUIT]

    @Test("exit 0, and neither sockets nor the pid file stay", arguments: signals)
    func tidies(signal: Int32) throws {
      let stage = try HubStage()
      let folder = stage.home.path
      #expect(listFolder(folder).filter { $0.hasPrefix("nc_") }.count == 2)
      #expect(pathExists(folder + "/zerotier-one.pid"))
      #expect(try stage.daemon.stop(signal: signal) == .exited(0), "\(stage.daemon.standardError)")
      #expect(listFolder(folder).filter { $0.hasPrefix("nc_") || $0.hasSuffix(".pid") }.isEmpty)
      try stage.restart()
      #expect(try stage.daemon.stop() == .exited(0))
    }

    @Test(
      "an open connection is closed in order: the kernel's end gets all data, then the end", .needsTap,
      arguments: signals)
    func closesConnections(signal: Int32) throws {
      let stage = try TapStage()
      let (peer, app) = (try SocketAgent(stage.kernel), try SocketAgent(stage.app))
      try peer.must("socket l")
      try peer.must("bind l \(Address.peer) 7000")
      try peer.must("listen l")
      try app.must("socket c")
      try app.must("connect c \(Address.peer) 7000")
      try peer.must("accept l s")
      try app.begin("recvall c")
      let writer = try SocketAgent(stage.app)
      try writer.must("socket w")
      try writer.must("connect w \(Address.peer) 7000")
      try peer.must("accept l sw")
      try peer.begin("recvall sw")
      let sum = try writer.must("send w 9 5000000")
      #expect(try stage.daemon.stop(signal: signal) == .exited(0), "\(stage.daemon.standardError)")
      #expect(try peer.answer(seconds: 5) == "ok 5000000 \(sum)")
      #expect(try peer.ask("recvall s", seconds: 5).hasPrefix("ok 0 "), "the idle connection gets its end too")
      let read = try app.answer(seconds: 2)
      #expect(read.hasPrefix("ok 0 ") || read == "error ECONNRESET", "the app: \(read)")
    }

    @Test("SIGPIPE does not end it")
    func ignoresPipe() throws {
      let stage = try HubStage()
      stage.daemon.process.send(signal: SIGPIPE)
      let agent = try SocketAgent(stage.onLeft)
      try agent.must("rawsocket")
      #expect(stage.daemon.process.isRunning)
    }
  }
}
