import BenchKit
import Glibc
import TestSupport
import Testing

/// A daemon in a namespace of its own, "the host", whose kernel has a wire to another, "the internet"; two networks on a
/// hub, the left one with the policy under test.
private final class OutsideStage {
  static let host = "192.0.2.1", internet = "192.0.2.2"
  static let host6 = "fd99::1", internet6 = "fd99::2"

  let host: NetworkNamespace
  let internet: NetworkNamespace
  let left: NetworkConfiguration
  let right: NetworkConfiguration
  let binaries: Binaries
  let daemon: DaemonProcess

  init(_ policy: String...) throws {
    binaries = try Binaries.located()
    host = try NetworkNamespace("host")
    internet = try NetworkNamespace("inet")
    _ = try host.connect(
      to: internet, addresses: ["\(OutsideStage.host)/24", "\(OutsideStage.host6)/64"],
      otherAddresses: ["\(OutsideStage.internet)/24", "\(OutsideStage.internet6)/64"])
    let hub = "hub:h" + UniqueName.suffix()
    left = NetworkConfiguration(link: hub, addresses: ["\(Address.left)/24", "\(Address.left6)/64"], lines: policy)
    right = NetworkConfiguration(link: hub, addresses: ["\(Address.right)/24", "\(Address.right6)/64"])
    daemon = try DaemonProcess(TemporaryHome([left, right]), binaries: binaries, namespace: host)
  }

  func onLeft(_ command: Command) -> Command { daemon.intercepted(command, on: left) }
  func onRight(_ command: Command) -> Command { daemon.intercepted(command, on: right) }
  func onHost(_ command: Command) -> Command { command.inside(host) }
  func onInternet(_ command: Command) -> Command { command.inside(internet) }

  /// Packets, connections and datagrams that the host's stack has sent (RFC 1213, RFC 4293), neighbour discovery apart.
  func sentByHost() throws -> [String] {
    let lines = try host.run(Command("cat", ["/proc/net/snmp"])).checked().standardOutput.split(separator: "\n")
    func value(_ group: String, _ name: String) throws -> String {
      let rows = lines.filter { $0.hasPrefix(group + ":") }.map { $0.split(separator: " ").map(String.init) }
      let column = try #require(rows.first?.firstIndex(of: name), "/proc/net/snmp lacks \(group) \(name)")
      return "\(name) \(rows[1][column])"
    }
    return [try value("Ip", "OutRequests"), try value("Tcp", "ActiveOpens"), try value("Udp", "OutDatagrams")]
  }
}

private func python(_ program: String, _ arguments: [String]) throws -> Command {
  let python = try #require(Requirements.python, "python3 is missing")
  return Command(python, ["-u", Binaries.packageRoot + "/Tests/SystemTests/Programs/" + program] + arguments)
}

/// Runs a program of scenarios in two ways; each line of output must be the same.
private func compare(_ native: Command, _ intercepted: Command, seconds: Double) throws {
  let expected = try run(native, seconds: seconds).checked().standardOutput.split(separator: "\n")
  let seen = try run(intercepted, seconds: seconds).checked().standardOutput.split(separator: "\n")
  #expect(!expected.isEmpty)
  #expect(expected.count == seen.count)
  for (wanted, line) in zip(expected, seen) { #expect(line == wanted) }
}

extension SystemTests {
  @Suite struct Outside {
    @Test("a program sees the internet as it would natively: connects, transfers, ends, options, listeners", .needsTap)
    func scenarios() throws {
      let stage = try OutsideStage("outside=host")
      let peer = try ChildProcess(
        stage.onInternet(python("outside_peer.py", [OutsideStage.internet, OutsideStage.internet6])),
        isInteractive: true)
      #expect(try peer.readLine(seconds: 20) == "serving")
      let program = try python(
        "outside.py",
        [OutsideStage.host, OutsideStage.host6, OutsideStage.internet, OutsideStage.internet6, "100000000"])
      let descriptors = stage.daemon.descriptorCount
      try compare(stage.onHost(program), stage.onLeft(program), seconds: 90)
      try waitUntil("\(descriptors) descriptors again", seconds: 10) { stage.daemon.descriptorCount <= descriptors }
    }

    @Test("datagrams outside as natively: addresses, errors, sizes, options, servers", .needsTap)
    func datagrams() throws {
      let stage = try OutsideStage("outside=host")
      let peer = try ChildProcess(
        stage.onInternet(python("outside_peer.py", [OutsideStage.internet, OutsideStage.internet6])),
        isInteractive: true)
      #expect(try peer.readLine(seconds: 20) == "serving")
      let program = try python(
        "outside_datagrams.py",
        [OutsideStage.host, OutsideStage.host6, OutsideStage.internet, OutsideStage.internet6])
      let descriptors = stage.daemon.descriptorCount
      try compare(stage.onHost(program), stage.onLeft(program), seconds: 60)
      try waitUntil("\(descriptors) descriptors again", seconds: 10) { stage.daemon.descriptorCount <= descriptors }
    }

    @Test("one datagram socket speaks to its network and to the outside", .needsTap)
    func datagramsToBoth() throws {
      let stage = try OutsideStage("outside=host")
      let echoes = [
        try ChildProcess(stage.onRight(python("echo_datagrams.py", [Address.right])), isInteractive: true),
        try ChildProcess(stage.onInternet(python("echo_datagrams.py", [OutsideStage.internet])), isInteractive: true),
      ]
      for echo in echoes { #expect(try echo.readLine(seconds: 20) == "serving") }
      let (virtual, outside) = (Address.right, OutsideStage.internet)
      let program = try python("outside_both.py", [virtual, outside])
      let lines = try run(stage.onLeft(program), seconds: 30).checked().standardOutput.split(separator: "\n")
      let turns = [virtual, outside, virtual, outside, virtual, outside].map { "(True, '\($0)')" }
      let outsideLine = "(True, '\(outside)') \(OutsideStage.host) \(outside)"
      #expect(
        lines.map(String.init) == [
          turns.joined(separator: " "), "0.0.0.0", outsideLine,
          "(True, '\(virtual)') \(Address.left) \(virtual)", outsideLine,
        ])
    }

    @Test("one curl fetches from a virtual server and from one outside", .needsTap, .needs("curl"))
    func fetchesFromBoth() throws {
      let stage = try OutsideStage("outside=host")
      let folder = try TemporaryFolder("site")
      let content = String(repeating: "0123456789abcdef\n", count: 50_000)
      let file = try folder.write("f", content)
      let serve = { (address: String) in
        Command(
          try #require(Requirements.python, "python3 is missing"),
          ["-u", "-m", "http.server", "8000", "--bind", address, "--directory", folder.path])
      }
      let servers = [
        try ChildProcess(stage.onRight(serve(Address.right))),
        try ChildProcess(stage.onInternet(serve(OutsideStage.internet))),
        try ChildProcess(stage.onInternet(serve(OutsideStage.internet6))),
      ]
      for server in servers {
        try waitUntil("http.server listening", seconds: 20) { server.standardOutput.contains("Serving HTTP") }
      }
      let urls = [Address.right, OutsideStage.internet, "[\(OutsideStage.internet6)]"].map { "http://\($0):8000/f" }
      let targets = (1...3).flatMap { ["-o", "\(folder.path)/got\($0)"] }
      let curl = Command("curl", ["-sSf", "--noproxy", "*", "-m", "30"] + targets + urls)
      try run(stage.onLeft(curl), seconds: 60).checked()
      for number in 1...3 {
        try run(Command("cmp", [file, "\(folder.path)/got\(number)"]), seconds: 20).checked()
      }
    }

    @Test("outside=deny: unreachable at once, and the host's stack sends nothing", .needsTap)
    func denies() throws {
      let stage = try OutsideStage()
      let agent = try SocketAgent(stage.onLeft)
      let before = try stage.sentByHost()
      for (family, address) in [("4", OutsideStage.internet), ("4", OutsideStage.host), ("6", OutsideStage.internet6)] {
        try agent.must("socket s \(family)")
        #expect(try agent.ask("connect s \(address) 7000") == "error ENETUNREACH")
        try agent.must("close s")
        try agent.must("socket s \(family)")
        #expect(
          try agent.ask("bind s \(family == "6" ? OutsideStage.host6 : OutsideStage.host) 0") == "error EADDRNOTAVAIL")
        try agent.must("close s")
      }
      for (family, address) in [("4", OutsideStage.internet), ("6", OutsideStage.internet6)] {
        try agent.must("socket u \(family) udp")
        #expect(try agent.ask("connect u \(address) 7000") == "error ENETUNREACH")
        try agent.must("close u")
      }
      try agent.must("socket s")
      #expect(try agent.ask("connect s 127.0.0.1 7000") == "error ECONNREFUSED")
      #expect(try stage.sentByHost() == before)
    }

    @Test("loopback is the network's own, or the host's", .needsTap)
    func loopback() throws {
      let stage = try OutsideStage("loopback=host")
      let (onHost, onLeft, onRight) = (
        try SocketAgent(stage.onHost), try SocketAgent(stage.onLeft), try SocketAgent(stage.onRight)
      )
      for (family, address) in [("4", "127.0.0.1"), ("4", "127.1.2.3"), ("6", "::1")] {
        try onHost.must("socket l \(family)")
        try onHost.must("bind l \(address) 7000")
        try onHost.must("listen l")
        try onLeft.must("socket c \(family)")
        try onLeft.must("connect c \(address) 7000")
        let peer = try onHost.must("accept l s")
        #expect(try onLeft.must("local c") == peer)
        try onLeft.must("send c 1 100000")
        #expect(try onHost.must("recv s 100000").hasPrefix("100000 "))
        try onRight.must("socket c \(family)")
        #expect(try onRight.ask("connect c \(address) 7000") == "error ECONNREFUSED")
        // The same port on the other network's loopback is another one.
        try onRight.must("socket l \(family)")
        try onRight.must("bind l \(address) 7000")
        for agent in [onLeft, onRight] { try agent.must("close c") }
        for agent in [onHost, onRight] { try agent.must("close l") }
      }
      // A listener of the left network's programs at loopback is the host's.
      try onLeft.must("socket l")
      try onLeft.must("bind l 127.0.0.1 7001")
      try onLeft.must("listen l")
      try onHost.must("socket c")
      try onHost.must("connect c 127.0.0.1 7001")
      #expect(try onLeft.must("accept l s") == onHost.must("local c"))
      // Only loopback is: the host's other addresses are still unreachable.
      try onLeft.must("socket d")
      #expect(try onLeft.ask("connect d \(OutsideStage.internet) 7000") == "error ENETUNREACH")
    }

    @Test("two programs of one network meet at its loopback addresses", .needsTap)
    func networkLoopback() throws {
      let stage = try OutsideStage("outside=host")
      let (server, client) = (try SocketAgent(stage.onLeft), try SocketAgent(stage.onLeft))
      let cases = [
        ("4", "127.0.0.1", "127.0.0.1"), ("4", "127.1.2.3", "127.1.2.3"), ("4", "0.0.0.0", "127.9.9.9"),
        ("4", "0.0.0.0", "0.0.0.0"), ("6", "::1", "::1"), ("6", "::", "::1"), ("6", "::", "::ffff:127.0.0.1"),
      ]
      let before = try stage.sentByHost()
      for (family, listening, target) in cases {
        try server.must("socket l \(family)")
        try server.must("bind l \(listening) 7000")
        try server.must("listen l")
        try client.must("socket c \(family)")
        try client.must("connect c \(target) 7000")
        #expect(try server.must("accept l s") == client.must("local c"), "\(target) at \(listening)")
        let sent = try client.must("send c 3 100000")
        #expect(try server.must("recv s 100000") == "100000 \(sent)")
        for name in ["l", "s"] { try server.must("close \(name)") }
        try client.must("close c")
      }
      #expect(try stage.sentByHost() == before)
    }

    @Test("the daemon's right to low ports is not lent", .needsTap, .needs("setpriv"))
    func privileges() throws {
      let stage = try OutsideStage("outside=host", "loopback=host")
      let nobody = try SocketAgent { command in
        var copy = stage.onLeft(command)
        copy.arguments = ["--reuid", "65534", "--regid", "65534", "--clear-groups", copy.executable] + copy.arguments
        copy.executable = "setpriv"
        return copy
      }
      let root = try SocketAgent(stage.onLeft)
      for (address, kind) in [(OutsideStage.host, "tcp"), ("127.0.0.1", "tcp"), (OutsideStage.host, "udp")] {
        try nobody.must("socket s 4 \(kind)")
        #expect(try nobody.ask("bind s \(address) 80") == "error EACCES")
        try nobody.must("bind s \(address) 8080")
        try nobody.must("close s")
        try root.must("socket s 4 \(kind)")
        try root.must("bind s \(address) 80")
        try root.must("close s")
      }
      // The network's own ports are nobody's privilege.
      try nobody.must("socket s")
      try nobody.must("bind s \(Address.left) 80")
    }

    @Test("2,000 connections outside leave nothing behind, made and accepted", .needsTap)
    func churn() throws {
      let stage = try OutsideStage("outside=host")
      let servers = [
        try BenchServer(stage.binaries, address: OutsideStage.internet, stage.onInternet),
        try BenchServer(stage.binaries, address: OutsideStage.host, stage.onLeft),
      ]
      let sides = [stage.onLeft, stage.onInternet]
      let batch = {
        for (server, side) in zip(servers, sides) {
          let client = BenchClient.command(stage.binaries, "churn", server.endpoint, ["--count", "2000"])
          let result = try BenchClient.run(side(client), seconds: 60)
          #expect(result.verified)
          #expect(result.connections == 2000)
        }
      }
      let descriptors = stage.daemon.descriptorCount
      try batch()
      try waitUntil("\(descriptors) descriptors again", seconds: 10) { stage.daemon.descriptorCount <= descriptors }
      let bytes = try stage.daemon.residentBytes()
      try batch()
      try waitUntil("\(descriptors) descriptors again", seconds: 10) { stage.daemon.descriptorCount <= descriptors }
      let grown = try stage.daemon.residentBytes() - bytes
      #expect(grown < 4 << 20, "grew by \(grown) bytes")  // as for connections of the stack (ResourceTests)
    }

    @Test("when the daemon ends, what the program has written still arrives", .needsTap)
    func drains() throws {
      let stage = try OutsideStage("outside=host")
      let (peer, app) = (try SocketAgent(stage.onInternet), try SocketAgent(stage.onLeft))
      try peer.accept(app, at: OutsideStage.internet)
      let sent = try app.must("send c 5 400000", seconds: 20)
      #expect(try stage.daemon.stop(signal: SIGTERM) == .exited(0))
      #expect(try peer.must("recvall s") == "400000 \(sent)")
      #expect(try app.ask("recv c 1") == "ok 0 e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
    }
  }
}
