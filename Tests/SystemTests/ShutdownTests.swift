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
      try peer.accept(app, at: Address.peer)
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

    @Test("-d returns when the background daemon serves; its pid file names the process that TERM ends")
    func background() throws {
      let binaries = try Binaries.located()
      let network = NetworkConfiguration(link: "hub:d", addresses: ["\(Address.left)/24"])
      let home = try TemporaryHome([network])
      let start = try run(Command(binaries.daemon, ["-d", home.path]), seconds: 10)
      let file = home.path + "/zerotier-one.pid"
      let text = try readFile(file)
      let pid = try #require(pid_t(text.prefix { $0.isNumber }), "pid file: \(text)")
      defer { kill(pid, SIGKILL) }
      #expect(start.status == .exited(0), "\(start)")
      try SocketAgent { $0.intercepted(library: binaries.library, socketPath: home.socketPath(network)) }
        .must("rawsocket")
      kill(pid, SIGTERM)
      try waitUntil("the end of process \(pid)", seconds: 10) { !pathExists(file) }
    }

    @Test("-d tells a mistake and its exit code as the foreground does")
    func backgroundFailure() throws {
      let home = try TemporaryHome()
      try home.write("00000000000000a1.conf", "color=red\n")
      let result = try run(Command(Binaries.located().daemon, ["-d", home.path]), seconds: 10)
      #expect(result.status == .exited(78), "\(result)")
      #expect(result.standardError.contains("a1.conf:1: "))
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
