/// A router's advertisement (RFC 4861 section 4.2), with the options that a host acts on.
struct RouterAdvertisement: Equatable {
  struct Prefix: Equatable {
    let prefix: InterfaceAddress
    let isOnLink: Bool
    let isAutonomous: Bool
    /// UInt32.max: for ever.
    let validSeconds: UInt32
    let preferredSeconds: UInt32
  }

  struct Names: Equatable {
    let servers: [IPAddress]
    let domains: [String]
    let seconds: UInt32
  }

  struct RouteInformation: Equatable {
    let destination: InterfaceAddress
    let seconds: UInt32
  }

  let router: IPAddress
  /// 0: not a default router.
  let lifetimeSeconds: UInt16
  var mtu: Int?
  var prefixes: [Prefix] = []
  var names: [Names] = []
  /// RFC 4191 section 2.3.
  var routes: [RouteInformation] = []

  /// Reads an ICMPv6 message; nil where it is malformed (section 6.1.2; hop limit and checksum are the caller's to check).
  init?(_ bytes: [UInt8], from router: IPAddress) {
    guard bytes.count >= 16, bytes[0] == 134, bytes[1] == 0, router.isV6, router.isLinkLocal else { return nil }
    self.router = router
    lifetimeSeconds = UInt16(bytes[6]) << 8 | UInt16(bytes[7])
    var at = 16
    while at < bytes.count {
      guard at + 2 <= bytes.count, bytes[at + 1] > 0, at + 8 * Int(bytes[at + 1]) <= bytes.count else { return nil }
      let end = at + 8 * Int(bytes[at + 1])
      read(Array(bytes[at..<end]))
      at = end
    }
  }

  private mutating func read(_ option: [UInt8]) {
    func number(_ offset: Int) -> UInt32 { option[offset..<(offset + 4)].reduce(0) { $0 << 8 | UInt32($1) } }
    switch option[0] {
    case 3 where option.count == 32 && option[2] <= 128:
      let prefix = InterfaceAddress(address: IPAddress(network: Array(option[16..<32]))!, prefixBits: Int(option[2]))
      prefixes.append(
        Prefix(
          prefix: InterfaceAddress(address: prefix.network, prefixBits: prefix.prefixBits),
          isOnLink: option[3] & 0x80 != 0, isAutonomous: option[3] & 0x40 != 0, validSeconds: number(4),
          preferredSeconds: number(8)))
    case 5 where option.count == 8: mtu = Int(number(4))
    case 24 where option[2] <= 128 && option.count >= 8 + (Int(option[2]) + 63) / 64 * 8:
      let bytes = Array(option[8...]) + [UInt8](repeating: 0, count: 24 - option.count)
      let destination = InterfaceAddress(address: IPAddress(network: bytes)!, prefixBits: Int(option[2]))
      routes.append(
        RouteInformation(
          destination: InterfaceAddress(address: destination.network, prefixBits: destination.prefixBits),
          seconds: number(4)))
    case 25 where option.count >= 24:  // RFC 8106 section 5.1
      let servers = stride(from: 8, to: option.count - 15, by: 16).compactMap {
        IPAddress(network: Array(option[$0..<($0 + 16)]))
      }
      names.append(Names(servers: servers, domains: [], seconds: number(4)))
    case 31 where option.count >= 16:  // section 5.2
      names.append(Names(servers: [], domains: DomainNames.read(Array(option[8...])), seconds: number(4)))
    default: break
    }
  }
}
