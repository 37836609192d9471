internal import CLwip
internal import Frames

/// A DHCP message (RFC 2131 section 2, options of RFC 2132), as far as a client needs it.
struct DHCPMessage: Equatable {
  enum Kind: UInt8 {
    case discover = 1, offer, request, decline, acknowledge, refuse, release
  }

  enum Option {
    static let subnetMask: UInt8 = 1
    static let routers: UInt8 = 3
    static let nameServers: UInt8 = 6
    static let domain: UInt8 = 15
    static let mtu: UInt8 = 26
    static let requestedAddress: UInt8 = 50
    static let leaseSeconds: UInt8 = 51
    static let overload: UInt8 = 52
    static let kind: UInt8 = 53
    static let server: UInt8 = 54
    static let parameters: UInt8 = 55
    static let maximumBytes: UInt8 = 57
    static let renewalSeconds: UInt8 = 58
    static let rebindingSeconds: UInt8 = 59
    static let clientIdentifier: UInt8 = 61
    static let searchList: UInt8 = 119  // RFC 3397
    static let classlessRoutes: UInt8 = 121  // RFC 3442
  }

  static let serverPort: UInt16 = 67
  static let clientPort: UInt16 = 68
  private static let cookie: [UInt8] = [99, 130, 83, 99]
  /// Where the options begin, behind the cookie.
  private static let optionsOffset = 240

  var kind: Kind
  var transaction: UInt32
  var hardware: MACAddress
  /// Seconds since the client began.
  var seconds: UInt16 = 0
  /// The client's own address, where it has one and answers to it.
  var client = IPAddress.anyV4
  /// What the server assigns.
  var yours = IPAddress.anyV4
  var options: [UInt8: [UInt8]] = [:]

  init(_ kind: Kind, transaction: UInt32, hardware: MACAddress) {
    self.kind = kind
    self.transaction = transaction
    self.hardware = hardware
  }

  /// Reads a server's message; nil where it is none.
  init?(reply bytes: [UInt8]) {
    guard bytes.count >= Self.optionsOffset, bytes[0] == 2, bytes[1] == 1, bytes[2] == 6,
      Array(bytes[236..<240]) == Self.cookie
    else { return nil }
    var options: [UInt8: [UInt8]] = [:]
    Self.read(bytes[Self.optionsOffset...], into: &options)
    let overload = options[Option.overload]?.first ?? 0
    if overload & 1 != 0 { Self.read(bytes[108..<236], into: &options) }  // the field `file`
    if overload & 2 != 0 { Self.read(bytes[44..<108], into: &options) }  // `sname`
    guard let kind = options[Option.kind]?.first.flatMap(Kind.init) else { return nil }
    self.kind = kind
    self.options = options
    (transaction, hardware, yours) = bytes.withUnsafeBytes {
      (
        UInt32(bigEndian: $0.loadUnaligned(fromByteOffset: 4, as: UInt32.self)),
        MACAddress(reading: $0.baseAddress! + 28), IPAddress(bytes: $0.baseAddress! + 16, isV6: false)
      )
    }
  }

  /// Options given more than once are one long one (RFC 3396).
  private static func read(_ field: ArraySlice<UInt8>, into options: inout [UInt8: [UInt8]]) {
    var at = field.startIndex
    while at < field.endIndex, field[at] != 255 {
      if field[at] == 0 {
        at += 1
        continue
      }
      guard at + 1 < field.endIndex, at + 2 + Int(field[at + 1]) <= field.endIndex else { return }
      let end = at + 2 + Int(field[at + 1])
      options[field[at], default: []] += field[(at + 2)..<end]
      at = end
    }
  }

  /// The client's message, at least 300 bytes long (RFC 1542 section 2.1).
  var encoded: [UInt8] {
    var bytes = [UInt8](repeating: 0, count: Self.optionsOffset)
    bytes[0] = 1
    bytes[1] = 1
    bytes[2] = 6
    for index in 0..<4 { bytes[4 + index] = UInt8(truncatingIfNeeded: transaction >> UInt32(24 - 8 * index)) }
    bytes[8] = UInt8(seconds >> 8)
    bytes[9] = UInt8(seconds & 0xff)
    bytes.replaceSubrange(12..<16, with: client.network)
    bytes.replaceSubrange(28..<34, with: hardware.bytes)
    bytes.replaceSubrange(236..<240, with: Self.cookie)
    bytes += [Option.kind, 1, kind.rawValue]
    for (option, value) in options.sorted(by: { $0.key < $1.key }) where option != Option.kind {
      bytes += [option, UInt8(value.count)] + value
    }
    bytes.append(255)
    if bytes.count < 300 { bytes += [UInt8](repeating: 0, count: 300 - bytes.count) }
    return bytes
  }

  // MARK: What options say

  func address(_ option: UInt8) -> IPAddress? { addresses(option).first }

  func addresses(_ option: UInt8) -> [IPAddress] {
    let value = options[option] ?? []
    return stride(from: 0, to: value.count - value.count % 4, by: 4).compactMap {
      IPAddress(network: Array(value[$0..<($0 + 4)]))
    }
  }

  func number(_ option: UInt8) -> UInt32? {
    guard let value = options[option], value.count == 4 else { return nil }
    return value.reduce(0) { $0 << 8 | UInt32($1) }
  }

  /// The subnet's prefix; nil for a mask that is none.
  var prefixBits: Int? {
    guard let mask = number(Option.subnetMask) else { return nil }
    let bits = (~mask).leadingZeroBitCount
    return mask == (bits == 0 ? 0 : UInt32.max << UInt32(32 - bits)) ? bits : nil
  }

  /// The routes: the classless ones alone where there are any (RFC 3442), else the first router as the default.
  var routes: [Route] {
    let classless = classlessRoutes
    if !classless.isEmpty { return classless }
    return address(Option.routers).map { [.byDefault(via: $0)] } ?? []
  }

  private var classlessRoutes: [Route] {
    let value = options[Option.classlessRoutes] ?? []
    var routes: [Route] = []
    var at = 0
    while at < value.count {
      let bits = Int(value[at])
      let significant = (bits + 7) / 8
      guard bits <= 32, at + 1 + significant + 4 <= value.count else { return [] }
      var destination = Array(value[(at + 1)..<(at + 1 + significant)])
      destination += [UInt8](repeating: 0, count: 4 - significant)
      at += 1 + significant
      let subnet = InterfaceAddress(address: IPAddress(network: destination)!, prefixBits: bits)
      let gateway = IPAddress(network: Array(value[at..<(at + 4)]))!
      at += 4
      routes.append(
        Route(
          destination: InterfaceAddress(address: subnet.network, prefixBits: bits),
          gateway: gateway.isAny ? nil : gateway))
    }
    return routes
  }

  /// The search list, or else the domain.
  var domains: [String] {
    let list = DomainNames.read(options[Option.searchList] ?? [])
    if !list.isEmpty { return list }
    let text = String(decoding: (options[Option.domain] ?? []).prefix { $0 != 0 }, as: UTF8.self)
    let plain = text.hasSuffix(".") ? String(text.dropLast()) : text
    return DomainNames.isPlain(plain) ? [plain] : []
  }
}

/// Domain names as DHCP and router advertisements carry them: labels with their lengths (RFC 1035 section 3.1).
enum DomainNames {
  /// Reads names one behind the other; pointers (section 4.1.4) count from the first byte. What is malformed ends it.
  static func read(_ bytes: [UInt8]) -> [String] {
    var names: [String] = []
    var at = 0
    while at < bytes.count {
      guard let (name, end) = readOne(bytes, at) else { break }
      if !name.isEmpty { names.append(name) }  // zeros fill up
      at = end
    }
    return names.filter(isPlain)
  }

  private static func readOne(_ bytes: [UInt8], _ start: Int) -> (String, Int)? {
    var labels: [String] = []
    var at = start
    var end: Int?
    var jumps = 0
    while true {
      guard at < bytes.count else { return nil }
      let length = Int(bytes[at])
      if length == 0 { return (labels.joined(separator: "."), end ?? at + 1) }
      if length & 0xc0 == 0xc0 {
        guard at + 1 < bytes.count, jumps < 16 else { return nil }
        end = end ?? at + 2
        at = (length & 0x3f) << 8 | Int(bytes[at + 1])
        jumps += 1
        continue
      }
      guard length < 64, at + 1 + length <= bytes.count else { return nil }
      labels.append(String(decoding: bytes[(at + 1)..<(at + 1 + length)], as: UTF8.self))
      at += 1 + length
    }
  }

  /// Letters, digits, '-', '_' and dots: nothing that could be anything else in a configuration or a log.
  static func isPlain(_ name: String) -> Bool {
    !name.isEmpty && name.utf8.count <= 253
      && name.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber || "-_.".contains($0)) }
  }
}

extension IPAddress {
  /// The 4 or 16 bytes in network order.
  var network: [UInt8] { withBytes { Array($0) } }
}
