import TestSupport
import Testing

/// dnsmasq(8) at the kernel's end of a network's tap: name server, DHCP server and router.
private final class NameStage {
  let network: NetworkConfiguration
  let binaries: Binaries
  let namespace: NetworkNamespace
  let home: TemporaryHome
  let daemon: DaemonProcess
  let folder: TemporaryFolder
  let server: ChildProcess

  init(addresses: [String], lines: [String], options: [String] = []) throws {
    binaries = try Binaries.located()
    let tap = UniqueName.interface("nt")
    network = NetworkConfiguration(link: "tap:" + tap, addresses: addresses, lines: lines)
    namespace = try NetworkNamespace("d")
    folder = try TemporaryFolder("dns")
    home = try TemporaryHome([network])
    daemon = try DaemonProcess(home, binaries: binaries)
    try namespace.adopt(tap, addresses: ["\(Address.peer)/24", "\(Address.peer6)/64"])
    try namespace.set(sysctl: "net/ipv6/conf/all/forwarding", "1")  // only a router advertises itself as one
    let base = [
      "--no-daemon", "--user=root", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--pid-file=",
      "--interface=\(tap)", "--except-interface=lo", "--bind-interfaces", "--log-facility=-", "--log-dhcp",
      "--dhcp-leasefile=\(folder.path)/leases", "--address=/#/",  // all else does not exist
    ]
    let records = [
      "--host-record=both.example.net,\(Address.peer),\(Address.peer6)", "--cname=alias.example.net,both.example.net",
      "--host-record=four.example.net,10.78.0.4", "--host-record=six.lab.example.net,fd78::6",
      "--txt-record=text.example.net,hello",
    ]
    // Beyond 512 bytes: the answer is cut, and asked for again over TCP (RFC 1035 section 4.2.1).
    let many = (1...60).map { "--host-record=many.example.net,10.79.0.\($0)" }
    let program = try #require(Requirements.pathOfProgram("dnsmasq"))
    let child = try ChildProcess(Command(program, base + records + many + options).inside(namespace))
    try waitUntil("dnsmasq started", seconds: 20) {
      guard child.isRunning else { throw SupportError("dnsmasq ended:\n\(child.standardError)") }
      return child.standardError.contains("started")
    }
    server = child
  }

  func app(_ command: Command) -> Command { daemon.intercepted(command, on: network) }

  /// The kernel's side of a comparison: the same names asked of the same server by glibc.
  func native(_ command: Command) throws -> Command {
    let file = try folder.write(
      "resolv.conf", "nameserver \(Address.peer)\nsearch example.net lab.example.net\n")
    let script = "mount --bind '\(file)' /etc/resolv.conf && exec \"$@\""
    return Command("unshare", ["-m", "sh", "-c", script, "sh", command.executable] + command.arguments)
      .inside(namespace)
  }

  func getent(_ database: String, _ name: String) throws -> [String] {
    try run(app(Command("getent", [database, name])), seconds: 30).standardOutput.split(separator: "\n").map {
      $0.split(whereSeparator: \.isWhitespace).joined(separator: " ")
    }
  }
}

extension SystemTests {
  /// Names from the network's own name servers, and networks that tell a host all it needs.
  @Suite struct NameServers {
    private static let addresses = ["\(Address.app)/24", "\(Address.app6)/64"]
    private static let lines = ["dns=\(Address.peer)", "search=example.net lab.example.net"]

    @Test("names resolve as glibc resolves them with the same server", .needsTap, .needs("dnsmasq"), .needs("python3"))
    func parity() throws {
      let stage = try NameStage(addresses: Self.addresses, lines: Self.lines)
      let names = [
        "names", "both", "both.example.net", "both.example.net.", "alias", "four", "six", "six.lab",
        "six.lab.example.net",
        "nosuch", "nosuch.example.net", "nosuch.example.net.", "text", "text.example.net.", "lab.example.net",
      ]
      let addresses = ["address", Address.peer, Address.peer6, "10.78.0.4", "10.99.0.1", "fd99::1"]
      for questions in [names, addresses] {
        let native = try runNames(questions) { (try? stage.native($0)) ?? $0 }
        let ours = try runNames(questions, stage.app)
        #expect(native.count == ours.count && native.count > 10)
        for (expected, shown) in zip(native, ours) where expected != shown {
          Issue.record("native: \(expected)\nours:   \(shown)")
        }
      }
      let many = try stage.getent("ahostsv4", "many").filter { $0.contains("STREAM") }
      #expect(Set(many.map { $0.prefix { $0 != " " } }).count == 60, "by TCP")
    }

    @Test(
      "curl and wget find a server by its name, over IPv6 and IPv4", .needsTap, .needs("dnsmasq"), .needs("curl"),
      .needs("wget"), .needs("python3"))
    func clients() throws {
      let stage = try NameStage(addresses: Self.addresses, lines: Self.lines)
      let python = try #require(Requirements.python)
      try stage.folder.write("hello.txt", "hello by name\n")
      for address in [Address.peer, Address.peer6] {
        let server = try ChildProcess(
          Command(python, ["-u", "-m", "http.server", "8080", "--bind", address, "--directory", stage.folder.path])
            .inside(stage.namespace))
        try waitUntil("http.server listening", seconds: 20) { server.standardOutput.contains("Serving HTTP") }
        let family = address.contains(":") ? "-6" : "-4"
        let url = "http://both:8080/hello.txt"
        let clients = [
          Command("curl", [family, "-sS", "--noproxy", "*", "-m", "20", url]),
          Command("wget", [family, "-q", "--no-proxy", "-T", "20", "-t", "1", "-O", "-", url]),
        ]
        for client in clients {
          let result = try run(stage.app(client), seconds: 30).checked()
          #expect(result.standardOutput == "hello by name\n")
        }
        server.kill()
      }
    }

    @Test(
      "whole answers, threads with small stacks and getaddrinfo_a are glibc's too", .needsTap, .needs("dnsmasq"),
      .needs("cc"))
    func otherCalls() throws {
      let stage = try NameStage(addresses: Self.addresses, lines: Self.lines)
      let program = stage.folder.path + "/resolver"
      let source = Binaries.packageRoot + "/Tests/SystemTests/Programs/resolver.c"
      try run(
        Command("cc", ["-O1", "-Wall", "-Werror", "-o", program, source, "-lpthread", "-lresolv"]), seconds: 60
      ).checked()
      let before = stage.daemon.descriptorCount
      let native = try run(stage.native(Command(program)), seconds: 60).checked().standardOutput
      let ours = try run(stage.app(Command(program)), seconds: 60).checked().standardOutput
      #expect(ours == native)
      #expect(native.contains("found by threads: 800"))
      try waitUntil("all sockets closed", seconds: 5) { stage.daemon.descriptorCount <= before }
    }

    @Test("a name server where nobody listens: the next one is asked at once", .needsTap, .needs("dnsmasq"))
    func nextServer() throws {
      let stage = try NameStage(addresses: Self.addresses, lines: ["dns=10.77.2.7"] + Self.lines)
      try stage.namespace.ip(["address", "add", "10.77.2.7/32", "dev", "lo"])
      let start = monotonicSeconds()
      #expect(try stage.getent("ahostsv4", "four").contains { $0.hasPrefix("10.78.0.4 STREAM") })
      #expect(monotonicSeconds() - start < 4, "refused, not timed out")
    }

    @Test(
      "address=auto and address=dhcp: addresses, routes and names come from the network", .needsTap, .needs("dnsmasq"),
      .needs("python3"))
    func learned() throws {
      let stage = try NameStage(
        addresses: [], lines: ["address=auto", "address=dhcp"],
        options: [
          "--dhcp-authoritative", "--dhcp-range=10.77.2.50,10.77.2.60,120", "--dhcp-range=fd77:2::,ra-only,64,300",
          "--enable-ra", "--dhcp-option=option:domain-search,example.net,lab.example.net",
        ])
      #expect(stage.daemon.standardError.contains("a DHCP server is waited for"), "the daemon serves meanwhile")
      try waitUntil("a lease and an advertisement", seconds: 30) {
        let log = stage.daemon.standardError
        return log.contains("granted 10.77.2.") && log.contains("router advertisement: fd77:2::")
      }
      // The search list is the server's too.
      #expect(try stage.getent("ahostsv4", "both").contains { $0.hasPrefix("\(Address.peer) STREAM both.example.net") })
      let peer = try SocketAgent { $0.inside(stage.namespace) }
      try peer.must("socket l")
      try peer.must("bind l 0.0.0.0 7000")
      try peer.must("listen l")
      // Off the subnet: by way of the router that the lease names.
      try stage.namespace.ip(["address", "add", "10.90.0.1/32", "dev", "lo"])
      let app = try SocketAgent(stage.app)
      try app.must("socket c")
      try app.must("connect c 10.90.0.1 7000")
      #expect(try app.must("local c").hasPrefix("10.77.2."))
      #expect(try stage.daemon.stop() == .exited(0))
      try waitUntil("the lease given back", seconds: 5) { stage.server.standardError.contains("DHCPRELEASE") }
    }
  }
}
