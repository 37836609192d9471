internal import TestSupport

/// Which congestion control the kernel's side uses.
///
/// It decides the baseline: on veth BBR, which paces, moves half of what CUBIC does; under loss it is many times faster. The
/// kernel is measured as its machine has it, and on impaired paths, where the algorithm is what is compared, with CUBIC,
/// which netcond has and Linux by default. The other one is shown beside.
enum Congestion {
  static let cubic = "cubic"
  static let bbr = "bbr"
  /// The machine's; namespaces inherit it.
  static let machine =
    (try? readFile("/proc/sys/net/ipv4/tcp_congestion_control"))?.split(separator: "\n").first
    .map(String.init) ?? "unknown"

  static func isAvailable(_ name: String) -> Bool {
    let names = (try? readFile("/proc/sys/net/ipv4/tcp_available_congestion_control")) ?? ""
    return names.split(whereSeparator: { $0 == " " || $0 == "\n" }).contains { $0 == name }
  }

  /// Beside the kernel, where its machine has another default.
  static var cubicBeside: [Contender] { machine != cubic && isAvailable(cubic) ? [.kernelCubic] : [] }
  static var bbrBeside: [Contender] { isAvailable(bbr) ? [.kernelBBR] : [] }
}

/// Namespaces as the measurements need them.
enum Namespaces {
  /// Ports of servers that are told their port instead of choosing one. No connection gets one of them as its own: one in
  /// TIME_WAIT, made without SO_REUSEADDR, would make the server's bind fail for a minute (ip-sysctl,
  /// ip_local_reserved_ports).
  static let servicePorts = 8000...8999

  static func make(_ purpose: String) throws -> NetworkNamespace {
    let namespace = try NetworkNamespace(purpose)
    // Churn uses up ports: give it all of them, and those in TIME_WAIT again (ip-sysctl).
    try namespace.set(sysctl: "net/ipv4/ip_local_port_range", "1024 65000")
    try namespace.set(sysctl: "net/ipv4/tcp_tw_reuse", "1")
    // Only connections with timestamps are reused (tcp_twsk_unique), which netcond's are not: whoever connects to it ran out
    // of ports within seconds, and the search for one was all that was measured. So few wait, on all stages alike.
    try namespace.set(sysctl: "net/ipv4/tcp_max_tw_buckets", "2000")
    try namespace.set(
      sysctl: "net/ipv4/ip_local_reserved_ports", "\(servicePorts.lowerBound)-\(servicePorts.upperBound)")
    // A herd of connects at once is no attack.
    try namespace.set(sysctl: "net/core/somaxconn", "8192")
    try namespace.set(sysctl: "net/ipv4/tcp_max_syn_backlog", "8192")
    return namespace
  }

  /// Makes all routes that a namespace has now use a congestion control. Not by its sysctl: outside the first namespace
  /// that takes only what tcp_allowed_congestion_control lists; a route takes all that are available (ip-route(8)).
  static func set(congestionControl name: String, in namespaces: NetworkNamespace...) throws {
    guard Congestion.isAvailable(name) else { return }
    // IPv6 routes to a namespace's own addresses cannot be changed; nothing is measured over them.
    for namespace in namespaces {
      for (family, table) in [("-4", "main"), ("-4", "local"), ("-6", "main")] {
        let show = Command("ip", ["-n", namespace.name, family, "route", "show", "table", table])
        for line in try run(show, seconds: 10).checked().standardOutput.split(separator: "\n") {
          let words = line.split(separator: " ").map(String.init)
          if ["broadcast", "multicast", "anycast"].contains(words[0]) { continue }
          try namespace.ip([family, "route", "change", "table", table] + words + ["congctl", name])
        }
      }
    }
  }
}

/// Addresses of the two ends, the same on every stage with two ends of its own: each has its own namespace or network.
enum Address {
  static let prefix = (ipv4: "/24", ipv6: "/64")

  static func of(_ role: Role, _ family: Family) -> String {
    switch (role, family) {
    case (.app, .ipv4): "10.78.2.1"
    case (.peer, .ipv4): "10.78.2.2"
    case (.app, .ipv6): "fd78:2::1"
    case (.peer, .ipv6): "fd78:2::2"
    }
  }

  /// Both addresses with their prefix lengths, as ip(8) and a network's file want them.
  static func all(_ role: Role) -> [String] { [of(role, .ipv4) + prefix.ipv4, of(role, .ipv6) + prefix.ipv6] }

  /// Further IPv4 addresses of the peer: one has 64,000 ports to connect from, and 100,000 connections need more.
  static let morePeers = (11...18).map { "10.78.2.\($0)" }
}

/// Kernel TCP between two namespaces joined by veth.
final class VethStage: Stage {
  private let app: NetworkNamespace
  private let peer: NetworkNamespace

  /// - Parameter congestionControl: nil leaves the machine's.
  init(congestionControl: String? = nil) throws {
    app = try Namespaces.make("va")
    peer = try Namespaces.make("vb")
    _ = try app.connect(
      to: peer, addresses: Address.all(.app),
      otherAddresses: Address.all(.peer) + Address.morePeers.map { $0 + Address.prefix.ipv4 })
    if let congestionControl { try Namespaces.set(congestionControl: congestionControl, in: app, peer) }
  }

  func wrap(_ command: Command, _ role: Role) -> Command { command.inside(role == .app ? app : peer) }
  func address(of role: Role, _ family: Family) -> String { Address.of(role, family) }
}

/// Kernel TCP over the loopback of one namespace.
final class LoopbackStage: Stage {
  private let namespace: NetworkNamespace

  init() throws { namespace = try Namespaces.make("lo") }

  func wrap(_ command: Command, _ role: Role) -> Command { command.inside(namespace) }
  func address(of role: Role, _ family: Family) -> String { family == .ipv4 ? "127.0.0.1" : "::1" }
}
