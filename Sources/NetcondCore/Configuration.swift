public import Frames
public import LwipGlue

/// A mistake in a network's file: where, what, and what to do.
public struct ConfigurationError: Error, CustomStringConvertible, Sendable, Equatable {
  public let file: String
  /// From 1; 0 means the file as a whole.
  public let line: Int
  public let cause: String
  public let cure: String

  public var description: String { (line > 0 ? "\(file):\(line)" : file) + ": \(cause); \(cure)" }
}

/// A network's identifier: 64 bits, written as 16 hexadecimal digits.
public struct NetworkID: Hashable, Sendable, CustomStringConvertible {
  public let rawValue: UInt64

  public init(rawValue: UInt64) { self.rawValue = rawValue }

  /// Reads exactly 16 hexadecimal digits.
  public init?(_ text: some StringProtocol) {
    guard text.count == 16, text.allSatisfy(\.isHexDigit), let value = UInt64(text, radix: 16) else { return nil }
    rawValue = value
  }

  public var description: String {
    let digits = String(rawValue, radix: 16)
    return String(repeating: "0", count: 16 - digits.count) + digits
  }
}

/// Which wire a network is on.
public enum LinkName: Hashable, Sendable, CustomStringConvertible {
  case hub(String)
  case tap(String)

  public var description: String {
    switch self {
    case .hub(let name): "hub:\(name)"
    case .tap(let name): "tap:\(name)"
    }
  }
}

/// One network, as HOME/networks.d/<16 hexadecimal digits>.conf describes it: lines of `key=value`, comments after `#`.
public struct NetworkConfiguration: Sendable, Equatable {
  public let id: NetworkID
  public let file: String
  public var link: LinkName = .hub("default")
  public var linkLine = 0
  public var addresses: [InterfaceAddress] = []
  public var gateways: [IPAddress] = []
  /// Bytes of an IP packet; nil: what the link says.
  public var mtu: Int?
  /// nil: derived from the network's id and the home's identity.
  public var mac: MACAddress?

  /// The most addresses of a network; lwIP's table of IPv6 addresses holds 18, two of which are the stack's own.
  public static let addressLimit = 16
  /// The link's MTU may lie in this range: the least for IPv6 (RFC 8200 section 5), the most that fits a frame buffer.
  public static let mtuRange = 1280...65_000

  /// Reads one file's text. All mistakes are reported, not just the first.
  /// - Parameters:
  ///   - text: the file's content.
  ///   - file: its path, for messages; the base name must be the network's id with `.conf`.
  public static func parse(_ text: String, file: String) -> Result<NetworkConfiguration, ConfigurationErrors> {
    let base = file.split(separator: "/").last.map(String.init) ?? file
    guard base.hasSuffix(".conf"), let id = NetworkID(base.dropLast(5)) else {
      return .failure(
        ConfigurationErrors([
          ConfigurationError(
            file: file, line: 0, cause: "'\(base)' is no network id",
            cure: "name the file with 16 hexadecimal digits and .conf, as in 0123456789abcdef.conf")
        ]))
    }
    var parser = Parser(configuration: NetworkConfiguration(id: id, file: file))
    for (number, line) in text.split(omittingEmptySubsequences: false, whereSeparator: \.isNewline).enumerated() {
      parser.read(line: String(line), number: number + 1)
    }
    parser.checkWhole()
    return parser.errors.isEmpty ? .success(parser.configuration) : .failure(ConfigurationErrors(parser.errors))
  }

  init(id: NetworkID, file: String) {
    self.id = id
    self.file = file
  }
}

/// All mistakes found, in the order of the files.
public struct ConfigurationErrors: Error, CustomStringConvertible, Sendable, Equatable {
  public let errors: [ConfigurationError]
  public init(_ errors: [ConfigurationError]) { self.errors = errors }
  public var description: String { errors.map(\.description).joined(separator: "\n") }
}

extension StringProtocol {
  /// Without white space at both ends.
  var trimmed: String {
    guard let first = firstIndex(where: { !$0.isWhitespace }), let last = lastIndex(where: { !$0.isWhitespace }) else {
      return ""
    }
    return String(self[first...last])
  }
}

private struct Parser {
  var configuration: NetworkConfiguration
  var errors: [ConfigurationError] = []
  private var seen: [String: Int] = [:]

  init(configuration: NetworkConfiguration) { self.configuration = configuration }

  private mutating func fail(_ line: Int, _ cause: String, _ cure: String) {
    errors.append(ConfigurationError(file: configuration.file, line: line, cause: cause, cure: cure))
  }

  mutating func read(line: String, number: Int) {
    let content = line.prefix { $0 != "#" }.trimmed
    if content.isEmpty { return }
    guard let equals = content.firstIndex(of: "=") else {
      return fail(number, "'\(content)' is not key=value", "write it as key=value, or begin the line with #")
    }
    let key = content[..<equals].trimmed
    let value = content[content.index(after: equals)...].trimmed
    if key != "address", key != "gateway", let first = seen[key] {
      return fail(number, "\(key) is given twice, first in line \(first)", "keep one of the two lines")
    }
    seen[key] = number
    switch key {
    case "link": readLink(value, number)
    case "address": readAddress(value, number)
    case "gateway": readGateway(value, number)
    case "mtu": readMTU(value, number)
    case "mac": readMAC(value, number)
    default:
      fail(number, "'\(key)' is no key of a network", "the keys are link, address, gateway, mtu and mac")
    }
  }

  private mutating func readLink(_ value: String, _ line: Int) {
    configuration.linkLine = line
    let parts = value.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
    let name = parts.count == 2 ? parts[1] : ""
    let plain = !name.isEmpty && name.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber || "-_.".contains($0)) }
    switch (parts[0], plain) {
    case ("hub", true): configuration.link = .hub(name)
    case ("tap", true) where name.utf8.count <= 15 && name != "." && name != "..": configuration.link = .tap(name)
    case ("tap", true): fail(line, "'\(name)' is no name for an interface", "use at most 15 characters (IFNAMSIZ)")
    case ("hub", false), ("tap", false):
      fail(line, "'\(value)' names no \(parts[0])", "write \(parts[0]):NAME with letters, digits, '-', '_' and '.'")
    default: fail(line, "'\(value)' is no link", "write link=hub:NAME or link=tap:NAME")
    }
  }

  private mutating func readAddress(_ value: String, _ line: Int) {
    let parts = value.split(separator: "/", omittingEmptySubsequences: false).map(String.init)
    guard parts.count == 2, let address = IPAddress(parts[0]) else {
      return fail(line, "'\(value)' is no address with a prefix", "write it as 10.1.0.2/24 or fd00::2/64")
    }
    guard let bits = Int(parts[1]), (1...address.bits).contains(bits) else {
      return fail(line, "'\(parts[1])' is no prefix length", "use 1 to \(address.bits)")
    }
    guard !address.isAny, !address.isMulticast, !address.isLoopback, !address.isLimitedBroadcast else {
      return fail(line, "\(address) cannot be a host's address", "use a unicast address")
    }
    let entry = InterfaceAddress(address: address, prefixBits: bits)
    if !address.isV6, bits < 31 {
      let host = UInt32.max >> UInt32(bits)
      let value = UInt32(truncatingIfNeeded: address.high >> 32) & host
      guard value != 0, value != host else {
        return fail(line, "\(entry) is the subnet's own or its broadcast address", "use an address between the two")
      }
    }
    guard !configuration.addresses.contains(where: { $0.address == address }) else {
      return fail(line, "\(address) is given twice", "keep one of the two lines")
    }
    guard configuration.addresses.count < NetworkConfiguration.addressLimit else {
      return fail(line, "there are more than \(NetworkConfiguration.addressLimit) addresses", "remove some")
    }
    configuration.addresses.append(entry)
  }

  private mutating func readGateway(_ value: String, _ line: Int) {
    guard let address = IPAddress(value), !address.isAny, !address.isMulticast, !address.isLoopback else {
      return fail(line, "'\(value)' is no gateway's address", "write it as 10.1.0.1 or fd00::1, without a prefix")
    }
    guard !configuration.gateways.contains(where: { $0.isV6 == address.isV6 }) else {
      return fail(line, "there is a second \(address.isV6 ? "IPv6" : "IPv4") gateway", "keep one")
    }
    configuration.gateways.append(address)
    gatewayLines.append(line)
  }
  private var gatewayLines: [Int] = []

  private mutating func readMTU(_ value: String, _ line: Int) {
    let range = NetworkConfiguration.mtuRange
    guard let mtu = Int(value), range.contains(mtu) else {
      return fail(line, "'\(value)' is no MTU", "use \(range.lowerBound) to \(range.upperBound) bytes")
    }
    configuration.mtu = mtu
  }

  private mutating func readMAC(_ value: String, _ line: Int) {
    guard let mac = MACAddress(value), !mac.isGroup, mac.bits != 0 else {
      return fail(
        line, "'\(value)' is no hardware address of a host",
        "write six pairs of hexadecimal digits whose first pair is even, as in 02:00:5e:10:00:01")
    }
    configuration.mac = mac
  }

  mutating func checkWhole() {
    for (gateway, line) in zip(configuration.gateways, gatewayLines) {
      let reachable = configuration.addresses.contains { $0.contains(gateway) } || (gateway.isV6 && gateway.isLinkLocal)
      if !reachable {
        fail(line, "the gateway \(gateway) is on no subnet of this network", "add an address of the gateway's subnet")
      }
    }
  }
}
