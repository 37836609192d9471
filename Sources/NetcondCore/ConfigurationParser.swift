internal import Frames
internal import Links
internal import LwipGlue

extension StringProtocol {
  /// Without white space at both ends.
  var trimmed: String {
    guard let first = firstIndex(where: { !$0.isWhitespace }), let last = lastIndex(where: { !$0.isWhitespace }) else {
      return ""
    }
    return String(self[first...last])
  }
}

/// Reads the lines of a network's file into a configuration, and collects what is wrong with them.
struct ConfigurationParser {
  var configuration: NetworkConfiguration
  var errors: [ConfigurationError] = []
  private var seen: [String: Int] = [:]
  /// The line of each of `configuration.routes`.
  private var routeLines: [Int] = []

  private static let keys =
    "address, dns, gateway, impair, impair-in, impair-out, link, loopback, mac, mtu, outside, route and search"
  private static let repeatable: Set<String> = ["address", "gateway", "route", "dns"]

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
    if !Self.repeatable.contains(key), let first = seen[key] {
      return fail(number, "\(key) is given twice, first in line \(first)", "keep one of the two lines")
    }
    seen[key] = number
    switch key {
    case "link": readLink(value, number)
    case "impair", "impair-in", "impair-out": readImpairment(key, value, number)
    case "address": readAddress(value, number)
    case "gateway": readGateway(value, number)
    case "route": readRoute(value, number)
    case "dns": readNameServer(value, number)
    case "search": readSearch(value, number)
    case "outside": configuration.outside = readPolicy(key, value, number) ?? .deny
    case "loopback": configuration.loopback = readPolicy(key, value, number) ?? .network
    case "mtu": readMTU(value, number)
    case "mac": readMAC(value, number)
    default: fail(number, "'\(key)' is no key of a network", "the keys are \(Self.keys)")
    }
  }

  // MARK: The wire

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

  private mutating func readImpairment(_ key: String, _ value: String, _ line: Int) {
    // `seen` has this line too.
    if let other = key == "impair" ? seen["impair-in"] ?? seen["impair-out"] : seen["impair"] {
      return fail(
        line, "\(key) and line \(other) are for the same direction",
        "write impair for both directions, or impair-in and impair-out")
    }
    do throws(ImpairmentMistake) {
      let impairment = try ImpairmentParser.parse(value)
      if key != "impair-out" { configuration.impairmentIn = impairment }
      if key != "impair-in" { configuration.impairmentOut = impairment }
    } catch {
      fail(line, error.cause, error.cure)
    }
  }

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

  // MARK: Addresses

  private mutating func readAddress(_ value: String, _ line: Int) {
    if value == "auto" || value == "dhcp" { return readDynamic(value, line) }
    let parts = value.split(separator: "/", omittingEmptySubsequences: false).map(String.init)
    guard parts.count == 2, let address = IPAddress(parts[0]) else {
      return fail(
        line, "'\(value)' is no address with a prefix", "write it as 10.1.0.2/24 or fd00::2/64, or write auto or dhcp")
    }
    guard let bits = Int(parts[1]), (1...address.bits).contains(bits) else {
      return fail(line, "'\(parts[1])' is no prefix length", "use 1 to \(address.bits)")
    }
    guard !address.isAny, !address.isMulticast, !address.isLoopback, !address.isLimitedBroadcast else {
      return fail(line, "\(address) cannot be a host's address", "use a unicast address")
    }
    let entry = InterfaceAddress(address: address, prefixBits: bits)
    if !address.isV6, bits < 31 {
      guard address != entry.network, address != entry.broadcast else {
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

  private mutating func readDynamic(_ value: String, _ line: Int) {
    guard Stack.isSourceBuild else {
      return fail(
        line, "address=\(value) needs lwIP built from source, and this build uses the packaged one",
        "build without NETCOND_LWIP=system, or give the network an address")
    }
    let isAuto = value == "auto"
    guard !(isAuto ? configuration.usesAutoconfiguration : configuration.usesDHCP) else {
      return fail(line, "address=\(value) is given twice", "keep one of the two lines")
    }
    if isAuto { configuration.usesAutoconfiguration = true } else { configuration.usesDHCP = true }
  }

  // MARK: Routes

  private mutating func readGateway(_ value: String, _ line: Int) {
    guard let address = readUnicast(value) else {
      return fail(line, "'\(value)' is no gateway's address", "write it as 10.1.0.1 or fd00::1, without a prefix")
    }
    add(.byDefault(via: address), line)
  }

  private mutating func readRoute(_ value: String, _ line: Int) {
    let words = value.split(whereSeparator: \.isWhitespace).map(String.init)
    guard words.count == 1 || words.count == 3 && words[1] == "via" else {
      return fail(line, "'\(value)' is no route", "write it as 10.2.0.0/16 via 10.1.0.1, or 10.2.0.0/16 alone")
    }
    let parts = words[0].split(separator: "/", omittingEmptySubsequences: false).map(String.init)
    guard parts.count == 2, let address = IPAddress(parts[0]), let bits = Int(parts[1]),
      (0...address.bits).contains(bits)
    else {
      return fail(line, "'\(words[0])' is no destination", "write it as 10.2.0.0/16 or fd02::/48")
    }
    let destination = InterfaceAddress(address: address, prefixBits: bits)
    guard destination.network == address else {
      return fail(
        line, "\(destination) has bits set behind its prefix", "write \(destination.network)/\(bits)")
    }
    guard !address.isMulticast, !address.isLoopback, !address.isLimitedBroadcast else {
      return fail(line, "there is no route to \(destination)", "route unicast destinations")
    }
    guard words.count == 3 else { return add(Route(destination: destination, gateway: nil), line) }
    guard let gateway = readUnicast(words[2]) else {
      return fail(line, "'\(words[2])' is no gateway's address", "write it as 10.1.0.1 or fd00::1, without a prefix")
    }
    guard gateway.isV6 == address.isV6 else {
      return fail(
        line, "\(gateway) and \(destination) are of two families", "use a gateway of the destination's family")
    }
    add(Route(destination: destination, gateway: gateway), line)
  }

  private mutating func add(_ route: Route, _ line: Int) {
    if let index = configuration.routes.firstIndex(where: { $0.destination == route.destination }) {
      let what = route.isDefault ? "a default route for \(route.destination.address.isV6 ? "IPv6" : "IPv4")" : "a route"
      return fail(line, "line \(routeLines[index]) has \(what) to \(route.destination) already", "keep one of the two")
    }
    guard configuration.routes.count < NetworkConfiguration.routeLimit else {
      return fail(line, "there are more than \(NetworkConfiguration.routeLimit) routes", "remove some")
    }
    configuration.routes.append(route)
    routeLines.append(line)
  }

  private func readUnicast(_ value: String) -> IPAddress? {
    guard let address = IPAddress(value), !address.isAny, !address.isMulticast, !address.isLoopback,
      !address.isLimitedBroadcast
    else { return nil }
    return address
  }

  // MARK: Names and policies

  private mutating func readNameServer(_ value: String, _ line: Int) {
    guard let address = IPAddress(value), !address.isAny, !address.isMulticast, !address.isLimitedBroadcast else {
      return fail(
        line, "'\(value)' is no name server's address", "write it as 10.1.0.53 or fd00::53, one for each line")
    }
    guard !configuration.nameServers.contains(address) else {
      return fail(line, "the name server \(address) is given twice", "keep one of the two lines")
    }
    guard configuration.nameServers.count < NetworkConfiguration.nameServerLimit else {
      return fail(line, "there are more than \(NetworkConfiguration.nameServerLimit) name servers", "remove some")
    }
    configuration.nameServers.append(address)
  }

  private mutating func readSearch(_ value: String, _ line: Int) {
    let domains = value.split(whereSeparator: \.isWhitespace).map { $0.hasSuffix(".") ? $0.dropLast() : $0 }
    guard !domains.isEmpty else {
      return fail(line, "search names no domain", "write it as search=example.net lab.example.net, or remove the line")
    }
    if let wrong = domains.first(where: { !Self.isDomain($0) }) {
      return fail(
        line, "'\(wrong)' is no domain", "use labels of letters, digits, '-' and '_', 63 at most, joined by dots")
    }
    guard domains.count <= NetworkConfiguration.searchDomainLimit else {
      return fail(line, "there are more than \(NetworkConfiguration.searchDomainLimit) domains", "remove some")
    }
    configuration.searchDomains = domains.map(String.init)
  }

  /// RFC 1035 section 2.3.4, with the underscores of RFC 8552.
  static func isDomain(_ text: some StringProtocol) -> Bool {
    text.utf8.count <= 253
      && text.split(separator: ".", omittingEmptySubsequences: false).allSatisfy { label in
        (1...63).contains(label.utf8.count)
          && label.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber || $0 == "-" || $0 == "_") }
      }
  }

  private mutating func readPolicy<Policy: RawRepresentable & CaseIterable>(
    _ key: String, _ value: String, _ line: Int
  ) -> Policy? where Policy.RawValue == String {
    if let policy = Policy(rawValue: value) { return policy }
    let choices = Policy.allCases.map { "\(key)=\($0.rawValue)" }.joined(separator: " or ")
    fail(line, "'\(value)' is no value of \(key)", "write \(choices)")
    return nil
  }

  // MARK: The whole

  mutating func checkWhole() {
    for (route, line) in zip(configuration.routes, routeLines) { check(route, line) }
  }

  private mutating func check(_ route: Route, _ line: Int) {
    guard let gateway = route.gateway else {
      if !route.destination.address.isV6, !hasV4 {
        fail(line, "this network has no IPv4 address to speak from", "add an address of IPv4, or address=dhcp")
      }
      return
    }
    if configuration.addresses.contains(where: { $0.address == gateway }) {
      return fail(line, "the gateway \(gateway) is this network's own address", "name the router's address")
    }
    // What a router or a DHCP server will assign is not known yet.
    let isKnown = !(gateway.isV6 ? configuration.usesAutoconfiguration : configuration.usesDHCP)
    let isOnLink =
      configuration.addresses.contains { $0.contains(gateway) } || gateway.isV6 && gateway.isLinkLocal
      || configuration.routes.contains { $0.gateway == nil && $0.destination.contains(gateway) }
    if isKnown, !isOnLink {
      fail(line, "the gateway \(gateway) is on no subnet of this network", "add an address of the gateway's subnet")
    }
  }

  private var hasV4: Bool { configuration.usesDHCP || configuration.addresses.contains { !$0.address.isV6 } }
}
