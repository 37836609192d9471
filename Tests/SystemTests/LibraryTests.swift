import TestSupport
import Testing

extension SystemTests {
  /// The library and its wrappers, from a program's side.
  @Suite struct Library {
    @Test("without ZT_NC_NETWORK every call is the host's")
    func passesThrough() throws {
      let binaries = try Binaries.located()
      let agent = try SocketAgent { $0.with(environment: ["LD_PRELOAD": binaries.library]) }
      try agent.must("socket l")
      try agent.must("bind l 127.0.0.1 0")
      try agent.must("listen l")
      let port = try agent.must("local l").split(separator: " ")[1]
      let native = try SocketAgent()
      try native.must("socket c")
      try native.must("connect c 127.0.0.1 \(port)")
      #expect(try agent.must("accept l s").hasPrefix("127.0.0.1 "))
      let sum = try native.must("send c 1 100000")
      #expect(try agent.must("recv s 100000") == "100000 \(sum)")
      #expect(agent.process.standardError.isEmpty)
    }

    @Test("against a fake daemon, which can do what the real one never should: all of Tests/intercept")
    func fakeDaemon() throws {
      let binaries = try Binaries.located()
      let python = try #require(Requirements.python)
      let script = Binaries.packageRoot + "/Tests/intercept/run.py"
      let process = try ChildProcess(Command(python, [script, binaries.library]))
      let status = try process.wait(seconds: 120)
      let lines = process.standardOutput.split(separator: "\n")
      #expect(status == .exited(0), "\(lines.filter { !$0.hasPrefix("ok ") })\(process.standardError)")
      #expect(lines.count { $0.hasPrefix("ok ") } >= 61)
    }

    @Test("no daemon there: ENETDOWN at once, and one message that says what to do")
    func noDaemon() throws {
      let binaries = try Binaries.located()
      let folder = try TemporaryFolder("none")
      let path = folder.path + "/nc_0000000000000001"
      let agent = try SocketAgent { $0.intercepted(library: binaries.library, socketPath: path) }
      for _ in 0..<3 { #expect(try agent.ask("rawsocket", seconds: 2) == "error ENETDOWN") }
      let lines = agent.process.standardError.split(separator: "\n").filter { $0.hasPrefix("netcond:") }
      #expect(lines.count == 1)
      #expect(lines.first?.contains(path) == true)
    }

    @Test("names of both ends, as the kernel tells them", .needsTap)
    func names() throws {
      let stage = try TapStage()
      let (peer, app) = (try SocketAgent(stage.kernel), try SocketAgent(stage.app))
      try app.must("socket l")
      try app.must("bind l 0.0.0.0 7000")
      try app.must("listen l")
      try peer.must("socket c")
      try peer.must("connect c \(Address.app) 7000")
      let told = try app.must("accept l s")
      #expect(told == (try peer.must("local c")))
      #expect(try app.must("remote s") == told)
      #expect(try app.must("local s") == "\(Address.app) 7000")
      #expect(try peer.must("remote c") == "\(Address.app) 7000")
      #expect(try app.must("local l") == "0.0.0.0 7000")
    }

    @Test("a refused connect is refused at once, blocking or not; another network is unreachable")
    func refused() throws {
      let stage = try HubStage()
      let agent = try SocketAgent(stage.onRight)
      try agent.must("socket a")
      #expect(try agent.ask("connect a \(Address.left) 9") == "error ECONNREFUSED")
      try agent.must("socket b")
      #expect(try agent.must("connectnow b \(Address.left) 9") == "ECONNREFUSED")
      try agent.must("socket c")
      #expect(try agent.ask("connect c 192.0.2.1 9") == "error ENETUNREACH")
    }

    @Test("netcond run puts a program on a network", .needs("curl"))
    func netcondRun() throws {
      let stage = try HubStage()
      let server = try SocketAgent(stage.onLeft)
      try server.must("socket l")
      try server.must("bind l \(Address.left) 7000")
      try server.must("listen l")
      let python = try #require(Requirements.python)
      let program = "import socket; s = socket.create_connection(('\(Address.left)', 7000)); s.sendall(b'hello')"
      let client = Command(
        stage.binaries.daemon,
        ["run", "--home", stage.home.path, "--network", stage.right.id, "--", python, "-c", program])
      try run(client, seconds: 20).checked()
      #expect(try server.must("accept l s").hasPrefix(Address.right + " "))
      #expect(try server.must("recvall s").hasPrefix("5 "))
    }

    @Test("netcond run passes the program's exit code on, and tells of a missing program, network or daemon")
    func netcondRunFailures() throws {
      let stage = try HubStage()
      func run(_ arguments: [String]) throws -> Completed {
        try TestSupport.run(Command(stage.binaries.daemon, ["run"] + arguments), seconds: 10)
      }
      let place = ["--home", stage.home.path, "--network", stage.left.id]
      #expect(try run(place + ["--", "sh", "-c", "exit 7"]).status == .exited(7))
      #expect(try run(place + ["--", "/no/such/program"]).status == .exited(127))
      #expect(try run(place).status == .exited(64))
      #expect(
        try run(["--home", stage.home.path, "--", "true"]).status == .exited(64), "two networks: one must be named")
      #expect(try run(["--home", stage.home.path + "/none", "--", "true"]).status == .exited(64))
    }

    @Test("zerotier-intercept: usage, and a program on a network")
    func wrapper() throws {
      let stage = try HubStage()
      let script = Binaries.packageRoot + "/scripts/zerotier-intercept"
      let none = try run(Command(script), seconds: 10)
      #expect(none.status == .exited(64))
      #expect(none.standardError.contains("usage:"))
      #expect(try run(Command(script, ["-h"]), seconds: 10).status == .exited(0))
      let python = try #require(Requirements.python)
      let program = "import socket; s = socket.socket(); s.bind(('\(Address.right)', 0)); print(s.getsockname()[0])"
      let command = Command(script, [python, "-c", program]).with(environment: [
        "ZT_NC_NETWORK": stage.home.socketPath(stage.right), "NETCOND_INTERCEPT_LIBRARY": stage.binaries.library,
      ])
      #expect(try run(command, seconds: 20).checked().standardOutput == Address.right + "\n")
    }
  }
}
