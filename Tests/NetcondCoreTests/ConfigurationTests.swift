import Frames
import Links
import LwipGlue
import NetcondCore
import Testing

private let file = "/home/networks.d/0123456789abcdef.conf"

private func parse(_ text: String, file: String = file) -> Result<NetworkConfiguration, ConfigurationErrors> {
  NetworkConfiguration.parse(text, file: file)
}

private func mistakes(_ text: String, file: String = file) -> [ConfigurationError] {
  guard case .failure(let errors) = parse(text, file: file) else { return [] }
  return errors.errors
}

@Suite struct ConfigurationTests {
  @Test func `a full file is understood`() throws {
    let network = try parse(
      """
      # the lab's network
      link = tap:lab0

      address=10.1.0.2/24   # first
      address=10.2.0.2/16
      address = fd00::2/64
      gateway=10.1.0.1
      gateway=fe80::1
      route=10.3.0.0/16 via 10.1.0.9
      route = 10.4.0.0/16
      route=fd05::/32  via  fd00::9
      dns=10.1.0.53
      dns=fd00::53
      search=example.net  lab.example.net.
      outside=host
      loopback=host
      mtu=9000
      mac=02:00:5E:10:00:01
      """
    ).get()
    #expect(network.id == NetworkID(rawValue: 0x0123_4567_89ab_cdef))
    #expect(network.file == file)
    #expect(network.link == .tap("lab0"))
    #expect(network.linkLine == 2)
    #expect(network.addresses.map(\.description) == ["10.1.0.2/24", "10.2.0.2/16", "fd00::2/64"])
    #expect(
      network.routes.map(\.description) == [
        "0.0.0.0/0 via 10.1.0.1", "::/0 via fe80::1", "10.3.0.0/16 via 10.1.0.9", "10.4.0.0/16",
        "fd05::/32 via fd00::9",
      ])
    #expect(network.nameServers.map(\.description) == ["10.1.0.53", "fd00::53"])
    #expect(network.searchDomains == ["example.net", "lab.example.net"])
    #expect(network.outside == .host && network.loopback == .host)
    #expect(network.mtu == 9000)
    #expect(network.mac?.bits == 0x0200_5e10_0001)
  }

  @Test(arguments: ["", "\n\n", "# nothing\n", "   \n\t\n"]) func `an empty file is a network on the default hub`(
    text: String
  ) throws {
    let network = try parse(text).get()
    #expect(network.link == .hub("default"))
    #expect(network.link.description == "hub:default")
    #expect(network.addresses.isEmpty && network.routes.isEmpty)
    #expect(!network.usesDHCP && !network.usesAutoconfiguration)
    #expect(network.nameServers.isEmpty && network.searchDomains.isEmpty)
    #expect(network.outside == .deny && network.loopback == .network)
    #expect(network.mtu == nil && network.mac == nil)
  }

  @Test(arguments: [
    "link=hub:a", "link=hub:A-b_c.9", "link=tap:abcdefghijklmno", "mtu=1280", "mtu=65000", "address=10.0.0.1/31",
    "address=10.0.0.0/31", "address=10.0.0.255/32", "address=fd00::/64", "address=fe80::5/10", "address=10.0.0.1/8\r",
    "mac=00:00:00:00:00:01", "route=fd02::/48 via fe80::1", "route=::/0 via fe80::1", "dns=127.0.0.1", "dns=fe80::53",
    "search=a", "search=_x.local-net.9", "outside=deny", "loopback=network",
    "impair=loss=0%", "impair=loss=100%", "impair=delay=0ms", "impair=delay=60s", "impair=delay=1ms±1ms",
    "impair=reorder=0%", "impair=limit=1", "impair=limit=1000000", "impair=rate=1kbit", "impair=rate=100gbit",
    "impair=seed=0", "impair=seed=18446744073709551615", "impair=reorder=1%,rate=1mbit", "impair-in=loss=1%",
  ])
  func `what is allowed to the edge is allowed`(line: String) {
    #expect(mistakes(line) == [])
  }

  @Test(arguments: [
    "nonsense", "=", "key=value", "Link=hub:a", "link", "link=", "link=hub", "link=hub:", "link=hub:a b",
    "link=hub:a/b",
    "link=tap:", "link=tap:.", "link=tap:..", "link=tap:abcdefghijklmnop", "link=veth:x", "link=hub:ä",
    "address=", "address=10.0.0.1", "address=10.0.0.1/", "address=10.0.0.1/0", "address=10.0.0.1/33",
    "address=10.0.0.1/-1", "address=10.0.0.1/24/1", "address=10.0.0/24", "address=fd00::1/129", "address=hello/8",
    "address=10.0.0.0/24", "address=10.0.0.255/24", "address=0.0.0.0/8", "address=127.0.0.1/8", "address=::1/128",
    "address=224.0.0.1/4", "address=ff02::1/64", "address=255.255.255.255/32", "address=::/64",
    "gateway=", "gateway=10.0.0.1/24", "gateway=0.0.0.0", "gateway=127.0.0.1", "gateway=224.0.0.1", "gateway=x",
    "mtu=", "mtu=1279", "mtu=65001", "mtu=1500.0", "mtu=-1", "mtu=99999999999999999999",
    "route=", "route=10.0.0.0/8 over 10.0.0.1", "route=10.0.0.0/8 via", "route=10.0.0.1 via 10.0.0.2",
    "route=10.0.0.1/8 via 10.0.0.2", "route=10.0.0.0/33", "route=fd00::1/64 via fe80::1", "route=224.0.0.0/4",
    "route=10.0.0.0/8 via fe80::1", "route=fd00::/8 via 10.0.0.1", "route=10.0.0.0/8 via 0.0.0.0", "route=10.0.0.0/8",
    "route=10.0.0.0/8 via 10.0.0.1 via 10.0.0.2", "route=10.2.0.0/16 via 10.9.0.1",
    "dns=", "dns=ns.example.net", "dns=0.0.0.0", "dns=::", "dns=224.0.0.251", "dns=10.0.0.1/24",
    "dns=10.0.0.1 10.0.0.2",
    "search=", "search=.", "search=a..b", "search=ex ample.net b?", "search=ä.net", "search=a b c d e f g",
    "outside=", "outside=allow", "outside=Host", "loopback=", "loopback=deny",
    "impair=", "impair=loss", "impair=1%", "impair=los=1%", "impair=loss=1", "impair=loss=-1%", "impair=loss=100.1%",
    "impair=loss=1%,", "impair=,loss=1%", "impair=loss=1%;delay=1ms", "impair=loss=1%,loss=2%", "impair=loss=.5%",
    "impair=loss=1e1%", "impair=loss=nan%", "impair=loss=1,5%", "impair=delay=20", "impair=delay=20m",
    "impair=delay=-1ms", "impair=delay=61s", "impair=delay=10ms±11ms", "impair=delay=10ms±", "impair=delay=±1ms",
    "impair=delay=1ms±1ms±1ms", "impair=delay=10ms-5ms", "impair=reorder=1%", "impair=corrupt=x", "impair=duplicate=",
    "impair=limit=0", "impair=limit=1000001", "impair=limit=1.5", "impair=rate=100", "impair=rate=0.5kbit",
    "impair=rate=101gbit", "impair=rate=1mb", "impair=seed=-1", "impair=seed=x", "impair-out=", "impair_in=loss=1%",
    "mac=", "mac=01:00:5e:00:00:01", "mac=ff:ff:ff:ff:ff:ff", "mac=00:00:00:00:00:00", "mac=02:00:5e:10:00",
  ])
  func `a mistake is reported with its line, cause and cure`(line: String) {
    let errors = mistakes("# first\n\n" + line + "\n")
    #expect(errors.count == 1, "\(errors)")
    for error in errors {
      #expect(error.file == file)
      #expect(error.line == 3)
      #expect(!error.cause.isEmpty && !error.cure.isEmpty)
      #expect(error.description == "\(file):3: \(error.cause); \(error.cure)")
    }
  }

  @Test func `all mistakes of a file are reported, in the order of their lines`() {
    let errors = mistakes("mtu=1\nlink=veth:x\naddress=10.0.0.1\n\nmac=1\nwhat\ngateway=10.9.9.9\n")
    #expect(errors.map(\.line) == [1, 2, 3, 5, 6, 7])
    #expect(ConfigurationErrors(errors).description.split(separator: "\n").count == 6)
  }

  @Test(arguments: ["link=hub:a", "mtu=1500", "mac=02:00:00:00:00:01", "search=a", "outside=deny", "loopback=host"])
  func `a key given twice names the first line`(line: String) {
    let errors = mistakes("\(line)\n\(line)\n")
    #expect(errors.map(\.line) == [2])
    #expect(errors.first?.cause.contains("line 1") == true)
  }

  @Test func `an address given twice, or too many of them, is refused`() {
    #expect(mistakes("address=10.0.0.1/24\naddress=10.0.0.1/16\n").map(\.line) == [2])
    let many = (1...17).map { "address=10.0.\($0).1/24" }.joined(separator: "\n")
    #expect(mistakes(many).map(\.line) == [17])
  }

  @Test func `a gateway must be on a subnet of the network, one for each family`() {
    #expect(mistakes("gateway=10.1.0.1\naddress=10.1.0.2/24\n") == [])
    #expect(mistakes("address=10.1.0.2/24\ngateway=10.2.0.1\n").map(\.line) == [2])
    #expect(mistakes("gateway=10.1.0.1\n").map(\.line) == [1])
    #expect(mistakes("address=fd00::2/64\ngateway=fe80::1\n") == [])
    #expect(mistakes("address=10.1.0.2/24\ngateway=10.1.0.1\ngateway=10.1.0.3\n").map(\.line) == [3])
  }

  @Test func `destinations have one route each, the default one included`() {
    let subnet = "address=10.1.0.2/24\n"
    #expect(mistakes(subnet + "route=10.2.0.0/16 via 10.1.0.1\nroute=10.2.0.0/16 via 10.1.0.3\n").map(\.line) == [3])
    #expect(mistakes(subnet + "gateway=10.1.0.1\nroute=0.0.0.0/0 via 10.1.0.3\n").map(\.line) == [3])
    #expect(mistakes(subnet + "route=10.2.0.0/16 via 10.1.0.1\nroute=10.2.0.0/15 via 10.1.0.3\n") == [])
    #expect(mistakes(subnet + "route=10.2.0.0/16 via 10.1.0.2\n").map(\.line) == [2], "its own address")
  }

  @Test func `a gateway may be reached by a route to the link`() {
    let text = "address=10.1.0.2/32\nroute=10.9.9.1/32\ngateway=10.9.9.1\n"
    #expect(mistakes(text) == [])
    #expect(mistakes("address=10.1.0.2/32\ngateway=10.9.9.1\n").map(\.line) == [2])
  }

  @Test(.enabled(if: Stack.isSourceBuild, "address=auto and address=dhcp need lwIP built from source"))
  func `addresses may be learned, and with them the way to a gateway`() throws {
    let network = try parse("address=auto\naddress=dhcp\nroute=10.2.0.0/16 via 10.1.0.1\n").get()
    #expect(network.usesDHCP && network.usesAutoconfiguration && network.addresses.isEmpty)
    #expect(mistakes("address=auto\naddress=auto\n").map(\.line) == [2])
    #expect(mistakes("address=dhcp\naddress=dhcp\n").map(\.line) == [2])
    #expect(mistakes("address=auto\nroute=10.2.0.0/16 via 10.1.0.1\n").map(\.line) == [2])
  }

  @Test func `name servers given twice, or too many, are refused`() {
    #expect(mistakes("dns=10.0.0.1\ndns=10.0.0.1\n").map(\.line) == [2])
    #expect(mistakes((1...9).map { "dns=10.0.0.\($0)" }.joined(separator: "\n")).map(\.line) == [9])
  }

  @Test(arguments: [
    "x.conf", "0123456789abcdef", "0123456789abcde.conf", "0123456789abcdef0.conf", "0123456789abcdeg.conf", ".conf",
    "+123456789abcdef.conf",
  ])
  func `the file's name must be a network id`(name: String) {
    let errors = mistakes("", file: "/etc/\(name)")
    #expect(errors.map(\.line) == [0])
    #expect(errors.first?.description.hasPrefix("/etc/\(name): ") == true)
  }
}

@Suite struct ImpairmentTests {
  private func impairment(_ text: String) throws -> Impairment {
    let network = try parse("impair=\(text)\n").get()
    #expect(network.impairmentIn == network.impairmentOut)
    return try #require(network.impairmentIn)
  }

  @Test func `all impairments in one line`() throws {
    let all = try impairment(
      "loss=1%, delay=20ms±5ms,duplicate=0.5%,reorder = 2%,corrupt=0.125%,rate=100mbit,limit=500,seed=42")
    #expect(all.loss == 0.01 && all.duplicate == 0.005 && all.reorder == 0.02 && all.corrupt == 0.00125)
    #expect(all.delayNanoseconds == 20_000_000 && all.jitterNanoseconds == 5_000_000)
    #expect(all.bitsPerSecond == 100_000_000 && all.limit == 500 && all.seed == 42)
    #expect(
      all.description
        == "loss=1%,delay=20ms±5ms,duplicate=0.5%,reorder=2%,corrupt=0.125%,rate=100000kbit,limit=500,seed=42")
    #expect(try impairment(all.description) == all, "what the log tells can be put in a file")
  }

  @Test(arguments: [
    ("20ms", 20_000_000, 0), ("1.5ms+-500us", 1_500_000, 500_000), ("250µs±250μs", 250_000, 250_000),
    ("2s ± 1s", 2_000_000_000, 1_000_000_000), ("0.25us", 250, 0), ("0s", 0, 0),
  ])
  func `times`(text: String, delay: UInt64, jitter: UInt64) throws {
    let impairment = try impairment("delay=\(text)")
    #expect(impairment.delayNanoseconds == delay && impairment.jitterNanoseconds == jitter)
    #expect(impairment.limit == 20_000 && impairment.bitsPerSecond == nil && impairment.seed == nil)
  }

  @Test(arguments: [("512kbit", 512_000), ("2.5Mbit", 2_500_000), ("1gbit", 1_000_000_000)] as [(String, UInt64)])
  func `rates`(text: String, bits: UInt64) throws {
    #expect(try impairment("rate=\(text)").bitsPerSecond == bits)
  }

  @Test func `each direction may have its own`() throws {
    let network = try parse("impair-out=delay=5ms\nimpair-in=loss=2%\n").get()
    #expect(network.impairmentIn?.loss == 0.02 && network.impairmentIn?.delayNanoseconds == 0)
    #expect(network.impairmentOut?.loss == 0 && network.impairmentOut?.delayNanoseconds == 5_000_000)
    let one = try parse("impair-in=loss=2%\n").get()
    #expect(one.impairmentIn != nil && one.impairmentOut == nil)
  }

  @Test(arguments: [
    "impair=loss=1%\nimpair=loss=1%\n", "impair=loss=1%\nimpair-in=loss=1%\n", "impair-out=loss=1%\nimpair=loss=1%\n",
    "impair-out=loss=1%\nimpair-out=loss=1%\n",
  ])
  func `a direction is impaired by one line only`(text: String) {
    let errors = mistakes(text)
    #expect(errors.map(\.line) == [2])
    #expect(errors.first?.cause.contains("line 1") == true)
  }

  @Test func `without a line nothing is impaired`() throws {
    let network = try parse("link=hub:a\n").get()
    #expect(network.impairmentIn == nil && network.impairmentOut == nil)
  }
}

@Suite struct NetworkIDTests {
  @Test(arguments: ["0000000000000000", "0123456789abcdef", "ffffffffffffffff"]) func `prints what it parsed`(
    text: String
  ) {
    #expect(NetworkID(text)?.description == text)
  }

  @Test(arguments: [
    "", "0", "0123456789abcde", "0123456789abcdef0", "0123456789abcdeg", "+123456789abcdef", "-123456789abcdef",
    "0x23456789abcdef",
  ])
  func `refuses what is not 16 hexadecimal digits`(text: String) {
    #expect(NetworkID(text) == nil)
  }

  @Test func `upper case is the same network`() {
    #expect(NetworkID("0123456789ABCDEF") == NetworkID("0123456789abcdef"))
  }
}
