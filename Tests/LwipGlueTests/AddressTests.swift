@testable import LwipGlue
import Testing

@Suite struct IPAddressTests {
  @Test(arguments: [
    "0.0.0.0", "10.1.2.3", "127.0.0.1", "255.255.255.255", "::", "::1", "fe80::1", "fd00:1:2:3:4:5:6:7",
    "2001:db8::ff00:42:8329", "::ffff:10.0.0.1", "ff02::1",
  ])
  func `prints what it parsed`(text: String) throws {
    #expect(try #require(IPAddress(text)).description == text)
  }

  @Test(arguments: [
    "", "10.0.0", "10.0.0.256", "10.0.0.1.2", "10.0.0.1/24", "10.0.0.01x", " 10.0.0.1", "hello", ":", ":::",
    "fe80::1%eth0",
    "1:2:3:4:5:6:7:8:9", "g::1", "::ffff:10.0.0.256",
  ])
  func `refuses what is none`(text: String) {
    #expect(IPAddress(text) == nil)
  }

  @Test(arguments: ["10.1.2.3", "fd00:1:2:3:4:5:6:7"]) func `its bytes make it again`(text: String) throws {
    let address = try #require(IPAddress(text))
    let copy = address.withBytes { bytes in
      (bytes.count, IPAddress(bytes: bytes.baseAddress!, isV6: address.isV6))
    }
    #expect(copy.0 * 8 == address.bits)
    #expect(copy.1 == address)
  }

  @Test func `its kinds are told by RFC 4291 and RFC 5735`() throws {
    func kinds(_ text: String) throws -> [String] {
      let address = try #require(IPAddress(text))
      return [
        ("any", address.isAny), ("loopback", address.isLoopback), ("multicast", address.isMulticast),
        ("link-local", address.isLinkLocal), ("broadcast", address.isLimitedBroadcast),
      ].filter(\.1).map(\.0)
    }
    #expect(try kinds("0.0.0.0") == ["any"])
    #expect(try kinds("::") == ["any"])
    #expect(try kinds("127.255.0.1") == ["loopback"])
    #expect(try kinds("::1") == ["loopback"])
    #expect(try kinds("224.0.0.1") == ["multicast"])
    #expect(try kinds("239.255.255.255") == ["multicast"])
    #expect(try kinds("ff02::1") == ["multicast"])
    #expect(try kinds("169.254.1.1") == ["link-local"])
    #expect(try kinds("fe80::1") == ["link-local"])
    #expect(try kinds("febf::1") == ["link-local"])
    #expect(try kinds("fec0::1") == [])
    #expect(try kinds("255.255.255.255") == ["broadcast"])
    #expect(try kinds("240.0.0.1") == [])
    #expect(try kinds("10.0.0.1") == [])
    #expect(try kinds("2001:db8::1") == [])
  }

  @Test func `a v4-mapped address gives the IPv4 one, no other does`() {
    #expect(IPAddress("::ffff:10.1.2.3")?.mappedV4 == IPAddress("10.1.2.3"))
    #expect(IPAddress("::10.1.2.3")?.mappedV4 == nil)
    #expect(IPAddress("10.1.2.3")?.mappedV4 == nil)
    #expect(IPAddress("64:ff9b::10.1.2.3")?.mappedV4 == nil)
  }

  @Test func `prefixes match by bits, never across families`() throws {
    func match(_ first: String, _ second: String, _ bits: Int) -> Bool {
      IPAddress(first)!.matches(IPAddress(second)!, prefixBits: bits)
    }
    #expect(match("10.1.2.3", "10.1.2.200", 24))
    #expect(!match("10.1.2.3", "10.1.3.3", 24))
    #expect(match("10.1.2.3", "10.1.3.3", 23))
    #expect(match("10.1.2.3", "192.168.0.1", 0))
    #expect(match("10.1.2.3", "10.1.2.3", 32))
    #expect(!match("10.1.2.3", "10.1.2.2", 32))
    #expect(match("10.1.2.3", "10.1.2.2", 31))
    #expect(match("fd00::1", "fd00::ffff:ffff:ffff:ffff", 64))
    #expect(!match("fd00::1", "fd00:0:0:1::1", 64))
    #expect(match("fd00::1", "fd00:0:0:1::1", 63))
    #expect(match("fd00::1", "fd00::", 127))
    #expect(!match("fd00::1", "fd00::", 128))
    #expect(match("fd00::8000:0:0:1", "fd00::8000:0:0:2", 65))
    #expect(!match("fd00::8000:0:0:1", "fd00::1", 65))
    #expect(!match("::", "0.0.0.0", 0))
  }

  @Test func `an endpoint prints with its port`() {
    #expect(Endpoint(address: IPAddress("10.0.0.1")!, port: 80).description == "10.0.0.1:80")
    #expect(Endpoint(address: IPAddress("fd00::1")!, port: 443).description == "[fd00::1]:443")
  }
}

@Suite struct InterfaceAddressTests {
  @Test func `knows its subnet and prints as CIDR`() {
    let address = InterfaceAddress(cidr: "10.1.2.3/22")
    #expect(address.description == "10.1.2.3/22")
    #expect(address.contains(IPAddress("10.1.0.1")!))
    #expect(!address.contains(IPAddress("10.1.4.1")!))
    #expect(InterfaceAddress(cidr: "fd00::1/64").contains(IPAddress("fd00::ffff")!))
    #expect(!InterfaceAddress(cidr: "fd00::1/64").contains(IPAddress("10.0.0.1")!))
  }

  @Test(
    arguments: [
      ("10.1.2.3/24", "10.1.2.255"), ("10.1.2.3/22", "10.1.3.255"), ("10.1.2.3/30", "10.1.2.3"),
      ("10.1.2.3/8", "10.255.255.255"),
      ("10.1.2.3/31", nil), ("10.1.2.3/32", nil), ("fd00::1/64", nil),
    ] as [(String, String?)])
  func `its broadcast address ends the subnet`(cidr: String, broadcast: String?) {
    #expect(InterfaceAddress(cidr: cidr).broadcast == broadcast.flatMap { IPAddress($0) })
  }
}
