import Glibc
import TestSupport
import Testing

/// A daemon's `zerotier-cli`, and curl(1) at its port.
final class Cli {
  private let folder: TemporaryFolder
  let home: TemporaryHome

  init(_ home: TemporaryHome, _ binaries: Binaries) throws {
    folder = try TemporaryFolder("c")
    self.home = home
    guard symlink(binaries.daemon, folder.path + "/zerotier-cli") == 0 else {
      throw SupportError.systemCall("symlink", folder.path)
    }
  }

  func ask(_ arguments: String...) throws -> Completed { try ask(arguments) }

  func ask(_ arguments: [String]) throws -> Completed { try run(command(arguments), seconds: 20) }
  func command(_ arguments: [String]) -> Command {
    Command(folder.path + "/zerotier-cli", ["-D" + home.path] + arguments)
  }

  /// The lines of a command that must succeed.
  func lines(_ arguments: String...) throws -> [String] {
    try ask(arguments).checked().standardOutput.split(separator: "\n").map(String.init)
  }

  func port() throws -> String { try readFile(home.path + "/zerotier-one.port") }
  func token() throws -> String { try readFile(home.path + "/authtoken.secret") }

  /// Status and body of a request by curl.
  func curl(_ path: String, _ arguments: [String]) throws -> (status: String, body: String) {
    let result = try run(
      Command(
        "curl", ["-s", "-m", "10", "-w", "\n%{http_code}"] + arguments + ["http://127.0.0.1:\(try port())\(path)"]),
      seconds: 20)
    let parts = result.standardOutput.split(separator: "\n", omittingEmptySubsequences: false)
    return (String(parts.last ?? ""), parts.dropLast().joined(separator: "\n"))
  }

  /// The value of a metric, by its name and labels.
  func metric(_ name: String) throws -> Int {
    let line = try lines("/metrics").first { $0.hasPrefix(name + " ") }
    return try #require(line.flatMap { Int($0.dropFirst(name.count + 1)) }, "no \(name)")
  }
}

extension SystemTests {
  @Suite struct Control {
    private func hub() throws -> (stage: HubStage, cli: Cli) {
      let stage = try HubStage()
      return (stage, try Cli(stage.home, stage.binaries))
    }

    @Test("zerotier-cli: the original's lines, with the socket's path in field 8 and addresses in field 9")
    func lines() throws {
      let (stage, cli) = try hub()
      let info = try #require(cli.lines("info").first).split(separator: " ")
      #expect(info.count == 5 && info.starts(with: ["200", "info"]) && info[2].count == 10 && info[3] == "ONLINE")
      #expect(try cli.lines("status") == cli.lines("info"))
      let inShell = try run(
        stage.onLeft(
          Command(
            "sh",
            [
              "-c", "exec \"$@\"", "-", cli.command(["info"]).executable,
              "-D" + stage.home.path, "info",
            ])), seconds: 20
      ).checked()
      #expect(inShell.standardOutput == info.joined(separator: " ") + "\n", "in an intercepted shell as well")
      let networks = try cli.lines("listnetworks")
      #expect(networks[0] == "200 listnetworks <nwid> <name> <mac> <status> <type> <dev> <ZT assigned ips>")
      for network in [stage.left, stage.right] {
        let fields = try #require(networks.first { $0.contains(network.id) }).split(separator: " ").map(String.init)
        #expect(fields.count == 9)
        #expect(fields[7] == stage.home.socketPath(network) && fields[8] == network.addresses.joined(separator: ","))
        #expect(fields[3] == network.link && fields[5] == "OK")
      }
      #expect(networks.count == 3)
      #expect(try cli.lines("listpeers") == ["200 listpeers <ztaddr> <paths> <latency> <version> <role>"])
      #expect(try cli.lines("-j", "info").joined().contains("\"publicIdentity\""))
      #expect(try cli.lines("/config").joined().contains("\"port\" : \(cli.port())"))
    }

    @Test("what cannot be done is said, with an exit status")
    func refusals() throws {
      let (stage, cli) = try hub()
      for arguments in [[], ["dance"], ["join"], ["join", "12"], ["info", "x"], ["-x", "info"]] {
        let result = try cli.ask(arguments)
        #expect(result.status == .exited(64) && result.standardError.contains("Usage"), "\(arguments): \(result)")
      }
      let unknown = try cli.ask("leave", "00000000000000aa")
      #expect(unknown.status == .exited(1) && unknown.standardOutput == "404 leave not joined: 00000000000000aa\n")
      let path = try cli.ask("/nowhere")
      #expect(path.status == .exited(1) && path.standardOutput.hasPrefix("404 /nowhere "))
      let stranger = try cli.ask("-Twrong", "info")
      #expect(stranger.status == .exited(1) && stranger.standardOutput.hasPrefix("401 info "))
      #expect(try stage.daemon.stop() == .exited(0))
      let gone = try cli.ask("info")
      #expect(gone.status == .exited(1) && gone.standardError.contains("nobody answers"), "\(gone)")
      let elsewhere = try cli.ask("-D/nonexistent", "info")
      #expect(elsewhere.status == .exited(2) && elsewhere.standardError.contains("-D"), "\(elsewhere)")
    }

    @Test("HTTP: nothing without the token, which may come in three ways; methods and paths that are none")
    func http() throws {
      let (stage, cli) = try hub()
      let token = try cli.token()
      for path in ["/status", "/", "/network/\(stage.left.id)", "/metrics"] {
        #expect(try cli.curl(path, []).status == "401")
      }
      #expect(try cli.curl("/status?auth=\(token.dropLast())x", []).status == "401")
      #expect(
        try cli.curl("/network/\(stage.left.id)", ["-X", "DELETE", "-H", "X-ZT1-Auth: \(token)1"]).status == "401")
      #expect(try cli.curl("/status?auth=\(token)", []).status == "200")
      #expect(try cli.curl("/status", ["-H", "Authorization: Bearer \(token)"]).status == "200")
      let authorized = ["-H", "X-ZT1-Auth: \(token)"]
      let network = try cli.curl("/network/\(stage.left.id)", authorized)
      #expect(
        network.status == "200"
          && network.body.contains("\"portDeviceName\" : \"\(stage.home.socketPath(stage.left))\""))
      #expect(try cli.curl("/network/\(stage.left.id)", authorized + ["-X", "PATCH"]).status == "405")
      #expect(try cli.curl("/status", authorized + ["-X", "POST"]).status == "405")
      for path in [
        "/", "/status/x", "/network/12", "/network/00000000000000aa", "/netcond", "/netcond/sockets?network=1",
      ] {
        let answer = try cli.curl(path, authorized)
        #expect(["400", "404"].contains(answer.status) && answer.body.contains("\"error\""), "\(path): \(answer)")
      }
      #expect(try cli.curl("/netcond/sockets?after=-1", authorized).status == "400")
      #expect(try cli.curl("/netcond/sockets?after=99999999999999999999", authorized).status == "400")
    }

    @Test("a port that was asked for and is taken: an error; without asking, another one is noted")
    func ports() throws {
      let first = try HubStage()
      let port = try readFile(first.home.path + "/zerotier-one.port")
      let second = try TemporaryHome()
      let refused = try run(Command(first.binaries.daemon, ["-p" + port, second.path]), seconds: 10)
      #expect(refused.status == .exited(1) && refused.standardError.contains("-p0"), "\(refused)")
      #expect(!pathExists(second.path + "/zerotier-one.pid"))
      let daemon = try DaemonProcess(second, binaries: first.binaries)
      let other = try Cli(second, first.binaries)
      #expect(try other.port() != port)
      #expect(try other.lines("listnetworks").count == 1)
      #expect(try daemon.stop() == .exited(0))
      let asked = try DaemonProcess(second, binaries: first.binaries, arguments: ["-p0"])
      #expect(try other.lines("info").count == 1)
      #expect(try asked.stop() == .exited(0))
    }

    @Test("sockets and counters tell what programs do")
    func counters() throws {
      let (stage, cli) = try hub()
      let (server, client) = (try SocketAgent(stage.onLeft), try SocketAgent(stage.onRight))
      try server.accept(client, at: Address.left)
      try client.must("send c 1 5")
      try server.must("recv s 5")
      let sockets = try cli.lines("/netcond/sockets").joined()
      for text in [
        "\"state\" : \"LISTEN\"", "\"local\" : \"\(Address.left):7000\"", "\"peer\" : \"\(Address.left):7000\"",
        "\"pid\" : \(client.process.pid)", "\"pid\" : \(server.process.pid)", "\"total\" : 3",
      ] { #expect(sockets.contains(text), "no \(text) in \(sockets)") }
      let right = try cli.lines("/netcond/sockets?network=\(stage.right.id)").joined()
      #expect(right.contains("\"total\" : 1") && right.contains("ESTABLISHED"))
      #expect(try cli.metric("netcond_connections_accepted_total") == 1)
      #expect(try cli.metric("netcond_connections_made_total") == 1)
      #expect(try cli.metric("netcond_programs") == 2)
      #expect(try cli.metric("netcond_sockets{network=\"\(stage.left.id)\",state=\"LISTEN\"}") == 1)
      let sent = "netcond_network_sent_bytes_total{network=\"\(stage.right.id)\"}"
      let before = try cli.metric(sent)
      try client.must("send c 2 1000")
      try server.must("recv s 1000")
      #expect(try cli.metric(sent) >= before + 1000)
      try client.must("close c")
      try waitUntil("the closed socket is gone", seconds: 10) {
        try cli.lines("/netcond/sockets?network=\(stage.right.id)").joined().contains("\"total\" : 0")
      }
    }

    @Test("netcond status and netcond sockets show it to people")
    func commands() throws {
      let (stage, cli) = try hub()
      let (server, client) = (try SocketAgent(stage.onLeft), try SocketAgent(stage.onRight))
      try server.accept(client, at: Address.left)
      func netcond(_ arguments: String...) throws -> Completed {
        try run(Command(stage.binaries.daemon, arguments), seconds: 20)
      }
      let status = try netcond("status", "--home", stage.home.path).checked().standardOutput
      for text in [
        "pid \(stage.daemon.pid)", "connectionsAccepted: 1", "programs: 2", "\(stage.left.id)  \(stage.left.link)  OK",
        "ESTABLISHED: 1; LISTEN: 1", "127.0.0.1:\(try cli.port())",
      ] { #expect(status.contains(text), "no \(text) in \(status)") }
      let rows = try netcond("sockets", "--home", stage.home.path, "--network", stage.left.id).checked().standardOutput
        .split(separator: "\n").map { $0.split(separator: " ").map(String.init) }
      #expect(rows.count == 3 && rows[0].starts(with: ["Netid", "State", "Recv-Q", "Send-Q"]))
      let listener = try #require(rows.first { $0.contains("LISTEN") })
      #expect(listener[2...5] == ["0", "16", "\(Address.left):7000", "*"], "\(rows)")
      #expect(listener[7].hasSuffix("(\(server.process.pid))"))
      let accepted = try #require(rows.first { $0.contains("ESTABLISHED") })
      #expect(accepted[4] == "\(Address.left):7000" && accepted[5].hasPrefix("\(Address.right):"))
      #expect(try netcond("sockets", "--network", "12").status == .exited(64))
      stage.daemon.kill()
      let gone = try netcond("status", "--home", stage.home.path)
      #expect(gone.status == .exited(1) && gone.standardError.contains("is netcond running?"), "\(gone)")
    }

    @Test("more sockets than a page: all are told, once")
    func pages() throws {
      let (stage, cli) = try hub()
      let agent = try SocketAgent(stage.onLeft)
      for number in 0..<600 { try agent.must("socket s\(number) 4 udp") }
      var (ids, after): (Set<String>, String?) = ([], "0")
      var pages = 0
      while let next = after {
        let text = try cli.lines("/netcond/sockets?after=\(next)")
        ids.formUnion(text.filter { $0.contains("\"id\" :") })
        after = text.first { $0.contains("\"next\" :") }.flatMap { $0.split(separator: ":").last }.map {
          String($0.filter(\.isNumber))
        }
        pages += 1
        try #require(pages < 10)
      }
      #expect(pages == 3 && ids.count == 600)
    }

    @Test("a network that is left: its programs are told, its peers' connections reset; then it comes again")
    func leaving() throws {
      let (stage, cli) = try hub()
      let (server, client) = (try SocketAgent(stage.onLeft), try SocketAgent(stage.onRight))
      try server.accept(client, at: Address.left)
      try server.begin("recv s 1")
      try client.begin("recv c 1")
      #expect(try cli.lines("leave", stage.right.id) == ["200 leave OK"])
      #expect(try client.answer(seconds: 5) == "error ENETDOWN")
      #expect(try server.answer(seconds: 5) == "error ECONNRESET")
      #expect(try client.ask("socket d") == "error ENETDOWN")
      #expect(!pathExists(stage.home.socketPath(stage.right)))
      let file = stage.home.networksFolder + "/\(stage.right.id).conf"
      #expect(!pathExists(file) && pathExists(file + ".left"))
      #expect(try cli.lines("listnetworks").count == 2)
      #expect(try cli.lines("join", stage.right.id) == ["200 join OK"])
      #expect(try cli.lines("join", stage.right.id) == ["200 join OK"], "it is joined already")
      #expect(try cli.lines("listnetworks").contains { $0.hasSuffix("\(Address.right)/24") })
      try client.must("socket e")
      try client.must("connect e \(Address.left) 7000")
      try server.must("accept l t")
      let digest = try client.must("send e 3 5000")
      #expect(try server.must("recv t 5000") == "5000 " + digest)
      #expect(try stage.daemon.stop() == .exited(0))
    }

    @Test("what a program reads of a network that was left is the beginning of what was sent")
    func leavingInTransfer() throws {
      let (stage, cli) = try hub()
      let (server, client) = (try SocketAgent(stage.onLeft), try SocketAgent(stage.onRight))
      try server.accept(client, at: Address.left)
      try server.begin("send s 7 8000000")
      let waiting = Environment["NETCOND_LWIP"] == "system" ? 30_000 : 500_000  // half of the window or more
      try waitUntil("the client's socket is full, and more waits for it", seconds: 10) {
        let queue = try cli.lines("/netcond/sockets?network=\(stage.right.id)").first { $0.contains("receiveQueue") }
        return queue.flatMap { Int($0.filter(\.isNumber)) }.map { $0 > waiting } == true
      }
      #expect(try cli.lines("leave", stage.right.id) == ["200 leave OK"])
      let answer = try client.must("recvprefix c 7 8000000").split(separator: " ")
      #expect(answer.last == "whole" && Int(answer[0]).map { $0 > 100_000 && $0 < 8_000_000 } == true, "\(answer)")
      #expect(["error ECONNRESET", "error EPIPE"].contains(try server.answer(seconds: 5)))
    }

    @Test("a network is joined with an empty file, and not with a wrong one")
    func joining() throws {
      let (stage, cli) = try hub()
      let id = UniqueName.networkID()
      #expect(try cli.lines("join", id) == ["200 join OK"])
      #expect(try readFile(stage.home.networksFolder + "/\(id).conf").isEmpty)
      #expect(
        try cli.lines("listnetworks").contains { $0.contains(id) && $0.hasSuffix(" -") && $0.contains("hub:default") })
      let wrong = UniqueName.networkID()
      try stage.home.write(wrong + ".conf", "link=hub:a\ncolor=red\n")
      let refused = try cli.ask("join", wrong)
      #expect(refused.status == .exited(1) && refused.standardOutput.hasPrefix("409 join "), "\(refused)")
      #expect(refused.standardOutput.contains("\(wrong).conf:2: 'color'"))
      #expect(!pathExists(stage.home.path + "/nc_" + wrong))
      unlink(stage.home.networksFolder + "/\(wrong).conf")
      #expect(try stage.daemon.stop() == .exited(0))
      try stage.restart()
      #expect(try cli.lines("listnetworks").contains { $0.contains(id) }, "it is joined at the next start")
    }

    @Test("a tap comes and goes with its network", .needsTap)
    func taps() throws {
      let (stage, cli) = try hub()
      let tap = UniqueName.interface("nj")
      let network = NetworkConfiguration(link: "tap:" + tap, addresses: ["\(Address.app)/24"])
      try stage.home.write(network.id + ".conf", "link=tap:\(tap)\naddress=\(Address.app)/24\n")
      for _ in 0..<3 {
        #expect(try cli.lines("join", network.id) == ["200 join OK"])
        #expect(if_nametoindex(tap) != 0)
        let agent = try SocketAgent { stage.daemon.intercepted($0, on: network) }
        try agent.must("socket l")
        try agent.must("bind l \(Address.app) 7000")
        try agent.must("listen l")
        #expect(try cli.lines("leave", network.id) == ["200 leave OK"])
        try waitUntil("the tap is gone", seconds: 5) { if_nametoindex(tap) == 0 }
      }
    }

    @Test("many who only connect keep nobody from an answer, nor the daemon from its end")
    func crowd() throws {
      let (stage, cli) = try hub()
      let port = try #require(try UInt16(cli.port()))
      var crowd: [Int32] = []
      defer { for fd in crowd { close(fd) } }
      for _ in 0..<200 {
        let fd = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        _ = withUnsafePointer(to: &address) {
          $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
            connect(fd, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
          }
        }
        crowd.append(fd)
      }
      try waitUntil("an answer", seconds: 10) { try cli.ask("info").status == .exited(0) }
      #expect(stage.daemon.descriptorCount < 100)
      #expect(try stage.daemon.stop() == .exited(0))
    }
  }
}
