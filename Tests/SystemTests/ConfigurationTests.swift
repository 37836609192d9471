import Glibc
import TestSupport
import Testing

/// A mistake in a network's file, and what its message must hold.
struct Mistake: Sendable, CustomTestStringConvertible {
  let name: String
  /// networks.d file → content; the first is the one at fault.
  let files: [(String, String)]
  /// 0: the message names the file as a whole.
  let line: Int
  /// What the cause must name.
  let cause: String

  var testDescription: String { name }

  static let file = "00000000000000a1.conf"
  static let all: [Mistake] = [
    one("unknown key", "link=hub:a\naddres=10.1.0.1/24\n", 2, "addres"),
    one("no key=value", "link=hub:a\n\nhello\n", 3, "hello"),
    one("address without prefix", "address=10.1.0.1\n", 1, "10.1.0.1"),
    one("prefix too long", "# comment\naddress=10.1.0.1/33\n", 2, "33"),
    one("address that is none", "address=10.1.0.256/24\n", 1, "10.1.0.256"),
    one("bad IPv6 address", "address=fd00::g/64\n", 1, "fd00::g"),
    one("subnet's own address", "address=10.1.0.0/24\n", 1, "10.1.0.0"),
    one("multicast address", "address=224.0.0.1/24\n", 1, "224.0.0.1"),
    one("unknown link", "link=wire:x\n", 1, "wire:x"),
    one("link without name", "link=hub:\n", 1, "hub"),
    one("interface name too long", "link=tap:sixteencharacter\n", 1, "sixteencharacter"),
    one("duplicate address", "address=10.1.0.1/24\naddress=10.1.0.1/16\n", 2, "10.1.0.1"),
    one("key given twice", "mtu=1500\nmtu=1400\n", 2, "mtu"),
    one("mtu too small", "mtu=100\n", 1, "100"),
    one("mtu that is no number", "mtu=big\n", 1, "big"),
    one("mac too short", "mac=02:00:5e\n", 1, "02:00:5e"),
    one("impairment without unit", "link=hub:a\nimpair=loss=1\n", 2, "loss"),
    one("unknown impairment", "impair=delay=10ms,lag=5ms\n", 1, "lag"),
    one("reorder without delay", "impair=reorder=5%\n", 1, "reorder"),
    one("jitter beyond the delay", "impair-in=delay=1ms+-2ms\n", 1, "1ms+-2ms"),
    one("impaired twice", "impair=loss=1%\nimpair-out=loss=2%\n", 2, "line 1"),
    one("group mac", "mac=01:00:5e:00:00:01\n", 1, "01:00:5e"),
    one("gateway out of reach", "address=10.1.0.1/24\ngateway=10.2.0.1\n", 2, "10.2.0.1"),
    one("bad gateway", "address=10.1.0.1/24\ngateway=nowhere\n", 2, "nowhere"),
    one("route to nowhere", "address=10.1.0.1/24\nroute=10.5.0.0/16 via 10.2.0.1\n", 2, "10.2.0.1"),
    one("two routes", "address=10.1.0.1/24\ngateway=10.1.0.2\nroute=0.0.0.0/0 via 10.1.0.3\n", 3, "default"),
    one("bad name server", "dns=ns.example.net\n", 1, "ns.example.net"),
    one("bad policy", "outside=maybe\n", 1, "maybe"),
    Mistake(name: "file name that is no id", files: [("network.conf", "link=hub:a\n")], line: 0, cause: "network"),
    Mistake(
      name: "two networks with one tap",
      files: [
        ("00000000000000a2.conf", "\nlink=tap:nctwice\n"), ("00000000000000a1.conf", "link=tap:nctwice\n"),
      ],
      line: 2, cause: "nctwice"),
  ]

  private static func one(_ name: String, _ text: String, _ line: Int, _ cause: String) -> Mistake {
    Mistake(name: name, files: [(file, text)], line: line, cause: cause)
  }
}

extension SystemTests {
  @Suite struct Configuration {
    private func start(_ binaries: Binaries, _ arguments: [String]) throws -> Completed {
      try run(Command(binaries.daemon, arguments), seconds: 10)
    }

    @Test("a mistake is told at start with file, line, cause and cure; exit 78", arguments: Mistake.all)
    func mistakes(mistake: Mistake) throws {
      let binaries = try Binaries.located()
      let home = try TemporaryHome()
      for (name, text) in mistake.files { try home.write(name, text) }
      let result = try start(binaries, [home.path])
      #expect(result.status == .exited(78), "\(result)")
      let path = home.networksFolder + "/" + mistake.files[0].0
      let place = mistake.line > 0 ? "\(path):\(mistake.line): " : "\(path): "
      let message = result.standardError.split(separator: "\n").first { $0.contains(place) }
      let text = try #require(message, "no line with '\(place)' in:\n\(result.standardError)")
      let parts = text.split(separator: ";")
      #expect(parts[0].contains(mistake.cause), "cause: \(text)")
      #expect(parts.count > 1 && parts[1].count > 10, "cure: \(text)")
      #expect(!pathExists(home.path + "/zerotier-one.pid"))
    }

    @Test("all mistakes are told at once")
    func several() throws {
      let home = try TemporaryHome()
      try home.write(Mistake.file, "color=red\nmtu=1\n")
      try home.write("00000000000000a2.conf", "link=x\n")
      let result = try start(Binaries.located(), [home.path])
      #expect(result.status == .exited(78))
      #expect(result.standardError.contains("a1.conf:1: "))
      #expect(result.standardError.contains("a1.conf:2: "))
      #expect(result.standardError.contains("a2.conf:1: "))
    }

    @Test(
      "a wrong command line: usage, exit 64",
      arguments: [["-x"], ["--log-level", "loud"], ["a", "b"], ["-p", "70000"]])
    func usage(arguments: [String]) throws {
      let result = try start(Binaries.located(), arguments)
      #expect(result.status == .exited(64), "\(result)")
      #expect(result.standardError.lowercased().contains("usage"))
    }

    @Test("help and version: exit 0", arguments: ["-h", "-v"])
    func help(flag: String) throws {
      let result = try start(Binaries.located(), [flag])
      #expect(result.status == .exited(0))
      #expect(!result.standardOutput.isEmpty)
    }

    @Test("an empty configuration file joins a network on hub:default")
    func empty() throws {
      let home = try TemporaryHome()
      try home.write(Mistake.file, "")
      let daemon = try DaemonProcess(home, binaries: Binaries.located())
      #expect(pathExists(home.path + "/nc_00000000000000a1"))
      #expect(try daemon.stop() == .exited(0))
    }

    @Test("a home that another daemon serves is refused, and the first goes on")
    func servedTwice() throws {
      let stage = try HubStage()
      let second = try start(stage.binaries, [stage.home.path])
      #expect(second.status != .exited(0))
      #expect(second.standardError.contains(stage.home.path))
      try SocketAgent(stage.onLeft).must("rawsocket")
    }

    @Test("a tap without the privilege: the message names it", .needsTap, .needs("setpriv"), arguments: [true, false])
    func unprivilegedTap(isRoot: Bool) throws {
      let binaries = try Binaries.located()
      let folder = try TemporaryFolder("priv")
      try run(Command("cp", ["-L", binaries.daemon, folder.path + "/netcond"]), seconds: 20).checked()
      let home = try TemporaryHome([
        NetworkConfiguration(link: "tap:" + UniqueName.interface("nt"), addresses: ["\(Address.app)/24"])
      ])
      try run(Command("chown", ["-R", "65534:65534", home.path]), seconds: 5).checked()
      // Root without CAP_NET_ADMIN may open the device but not attach; nobody may not even open it.
      let options =
        isRoot
        ? ["--bounding-set=-net_admin", "--inh-caps=-net_admin"] : ["--reuid=65534", "--regid=65534", "--clear-groups"]
      let result = try run(Command("setpriv", options + [folder.path + "/netcond", home.path]), seconds: 10)
      #expect(result.status == .exited(78) || result.status == .exited(1), "\(result)")
      let names = isRoot ? ["CAP_NET_ADMIN"] : ["/dev/net/tun", "CAP_NET_ADMIN"]
      #expect(names.contains { result.standardError.contains($0) }, "\(result)")
    }
  }
}
