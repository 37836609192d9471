public import Frames
public import Links
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

  /// What to say of a text that is none.
  static func complaint(_ text: String) -> String { "'\(text)' is no network id: it has 16 hexadecimal digits" }

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

/// What becomes of destinations that are on no route of the network.
public enum OutsidePolicy: String, Sendable, CaseIterable {
  /// They are unreachable.
  case deny
  /// They are the host's: programs reach them through the host's own stack.
  case host
}

/// Whose 127.0.0.0/8 and ::1 programs see.
public enum LoopbackPolicy: String, Sendable, CaseIterable {
  /// The network's own: the programs of one network meet there.
  case network
  case host
}

/// One network, as HOME/networks.d/<16 hexadecimal digits>.conf describes it: lines of `key=value`, comments after `#`.
public struct NetworkConfiguration: Sendable, Equatable {
  public let id: NetworkID
  public let file: String
  public var link: LinkName = .hub("default")
  public var linkLine = 0
  /// What befalls packets towards this network's programs, and those from them; nil: nothing.
  public var impairmentIn: Impairment?
  public var impairmentOut: Impairment?
  public var addresses: [InterfaceAddress] = []
  /// Routes besides the subnets of `addresses`; the gateways are the default ones.
  public var routes: [Route] = []
  /// `address=auto`: addresses and a router from router advertisements (SLAAC, RFC 4862).
  public var usesAutoconfiguration = false
  /// `address=dhcp`: an address, a router and name servers from a DHCP server (RFC 2131).
  public var usesDHCP = false
  /// Name servers in order of preference.
  public var nameServers: [IPAddress] = []
  /// Domains that a short name is looked for in.
  public var searchDomains: [String] = []
  public var outside: OutsidePolicy = .deny
  public var loopback: LoopbackPolicy = .network
  /// Bytes of an IP packet; nil: what the link says.
  public var mtu: Int?
  /// nil: derived from the network's id and the home's identity.
  public var mac: MACAddress?

  /// The most addresses of a network; lwIP's table of IPv6 addresses holds 18, two of which are the stack's own.
  public static let addressLimit = 16
  /// The link's MTU may lie in this range: the least for IPv6 (RFC 8200 section 5), the most that fits a frame buffer.
  public static let mtuRange = 1280...65_000
  public static let routeLimit = 256
  public static let nameServerLimit = 8
  /// As resolv.conf(5): six domains.
  public static let searchDomainLimit = 6

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
    var parser = ConfigurationParser(configuration: NetworkConfiguration(id: id, file: file))
    for (number, line) in text.split(omittingEmptySubsequences: false, whereSeparator: \.isNewline).enumerated() {
      parser.read(line: String(line), number: number + 1)
    }
    parser.checkWhole()
    parser.errors.sort { $0.line < $1.line }
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
