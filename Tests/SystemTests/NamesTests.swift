import TestSupport
import Testing

/// The program Tests/SystemTests/Programs/names.py, run to its end.
func runNames(_ arguments: [String], _ wrap: (Command) -> Command = { $0 }) throws -> [String] {
  let python = try #require(Requirements.python, "python3 is missing")
  let script = Binaries.packageRoot + "/Tests/SystemTests/Programs/names.py"
  let result = try run(wrap(Command(python, ["-B", script] + arguments)), seconds: 60).checked()
  return result.standardOutput.split(separator: "\n").map(String.init)
}

extension SystemTests {
  /// Names and interfaces, as programs ask libc for them.
  @Suite struct Names {
    private func getent(_ arguments: [String], _ wrap: (Command) -> Command) throws -> [String] {
      try run(wrap(Command("getent", arguments)), seconds: 20).standardOutput.split(separator: "\n").map {
        $0.split(whereSeparator: \.isWhitespace).joined(separator: " ")
      }
    }

    @Test("numeric addresses, services, flags and errors are glibc's, 500 questions", .needs("python3"), .needsTap)
    func numeric() throws {
      let stage = try HubStage()
      let namespace = try NetworkNamespace("n")  // where nothing can be asked: the kernel's side of the comparison
      let native = try runNames(["numeric"]) { $0.inside(namespace) }
      let ours = try runNames(["numeric"], stage.onLeft)
      #expect(native.count > 500 && native.count == ours.count)
      for (expected, shown) in zip(native, ours) where expected != shown {
        Issue.record("native: \(expected)\nours:   \(shown)")
      }
    }

    @Test("HOME/hosts comes before /etc/hosts, and localhost is there without either", .needs("getent"))
    func hostsFiles() throws {
      let stage = try HubStage(ipv6: true)
      try writeFile(
        stage.home.path + "/hosts",
        """
        # of this home
        10.77.1.9 web.example.net web WWW # and a comment
        fd77:1::9\tweb.example.net
        10.77.1.8 web.example.net
        not-an-address broken
        10.77.1.7

        """)
      #expect(try getent(["hosts", "web"], stage.onLeft) == ["10.77.1.9 web.example.net web WWW"])
      #expect(try getent(["hosts", "fd77:1::9"], stage.onLeft) == ["fd77:1::9 web.example.net"])
      let all = try getent(["ahosts", "www"], stage.onLeft).filter { $0.contains("STREAM") }
      #expect(all == ["10.77.1.9 STREAM web.example.net"])
      let both = try getent(["ahosts", "web.example.net"], stage.onLeft).filter { $0.contains("STREAM") }
      #expect(both.map { $0.prefix { $0 != " " } } == ["fd77:1::9", "10.77.1.9", "10.77.1.8"])
      #expect(try getent(["ahostsv4", "localhost"], stage.onLeft).first?.hasPrefix("127.0.0.1 STREAM") == true)
      #expect(try getent(["hosts", "broken"], stage.onLeft).isEmpty)
    }

    @Test("without dns= an unknown name fails at once, and nobody is asked", .needs("strace"), .needs("getent"))
    func nobodyIsAsked() throws {
      let stage = try HubStage()
      let folder = try TemporaryFolder("st")
      for database in ["hosts", "ahosts", "ahostsv6"] {
        let log = folder.path + "/" + database
        // strace itself is not intercepted: its child is.
        let inside = stage.onLeft(Command("getent", [database, "nosuch.example.org"]))
        let variables = inside.environment.flatMap { ["-E", "\($0.key)=\($0.value)"] }
        let traced = Command(
          "strace", ["-f", "-e", "trace=%network,openat", "-o", log] + variables + ["getent"] + inside.arguments)
        let start = monotonicSeconds()
        let result = try run(traced, seconds: 20)
        #expect(result.status == .exited(2), "getent(1): 2 is a key not found")
        #expect(monotonicSeconds() - start < 3)
        let calls = try readFile(log).split(separator: "\n")
        #expect(calls.contains { $0.contains(stage.home.socketPath(stage.left)) }, "the daemon was asked for facts")
        let leaks = calls.filter { call in
          call.contains("AF_INET") || ["resolv.conf", "nscd", "systemd/resolve"].contains { call.contains($0) }
        }
        #expect(leaks.isEmpty, "\(leaks)")
      }
    }

    @Test("with no daemon a name fails with EAI_AGAIN, not by the host's answer", .needs("python3"))
    func noDaemon() throws {
      let binaries = try Binaries.located()
      let folder = try TemporaryFolder("none")
      let lines = try runNames(["names", "nosuch.example.org"]) {
        $0.intercepted(library: binaries.library, socketPath: folder.path + "/nc_0000000000000001")
      }
      #expect(lines.allSatisfy { $0.hasSuffix("error -3") || $0.hasSuffix("error 2") }, "\(lines)")
    }

    @Test("programs see lo and nc0, and nothing of the host's", .needs("python3"))
    func interfaces() throws {
      let stage = try HubStage(ipv6: true)
      let lines = try runNames(["interfaces"], stage.onLeft)
      #expect(lines[0] == "if_nameindex -> (1, 'lo') (2, 'nc0')")
      #expect(lines[1] == "if_nametoindex nc0 -> 2" && lines[2] == "if_indextoname 2 -> nc0")
      #expect(lines.dropFirst(3).allSatisfy { $0.contains("errno") })
    }

    @Test("getifaddrs lists the network's addresses as glibc would", .needs("cc"))
    func addresses() throws {
      let stage = try HubStage(ipv6: true)
      let folder = try TemporaryFolder("ifa")
      let program = folder.path + "/interfaces"
      let source = Binaries.packageRoot + "/Tests/SystemTests/Programs/interfaces.c"
      try run(Command("cc", ["-O1", "-Wall", "-Werror", "-o", program, source]), seconds: 60).checked()
      let lines = try run(stage.onLeft(Command(program)), seconds: 10).checked().standardOutput.split(separator: "\n")
      #expect(lines.filter { $0.contains("packet") }.count == 2)
      #expect(lines.contains("lo inet 127.0.0.1 255.0.0.0 127.0.0.1 0"))
      #expect(lines.contains("nc0 inet \(Address.left) 255.255.255.0 10.77.1.255 0"))
      #expect(lines.contains("lo inet6 ::1 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff - 0"))
      #expect(lines.contains("nc0 inet6 \(Address.left6) ffff:ffff:ffff:ffff:: - 0"))
      #expect(lines.contains { $0.hasPrefix("nc0 inet6 fe80::") && $0.hasSuffix(" - 2") }, "with its scope")
    }
  }
}
