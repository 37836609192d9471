/// Where packets to a set of destinations go.
public struct Route: Hashable, Sendable, CustomStringConvertible {
  /// The destinations: all addresses that share the prefix; the bits behind it are 0.
  public let destination: InterfaceAddress
  /// The next hop, on the link itself; nil where the destinations are on the link.
  public let gateway: IPAddress?

  public init(destination: InterfaceAddress, gateway: IPAddress?) {
    self.destination = destination
    self.gateway = gateway
  }

  /// All destinations of the gateway's family.
  public static func byDefault(via gateway: IPAddress) -> Route {
    let any: IPAddress = gateway.isV6 ? .anyV6 : .anyV4
    return Route(destination: InterfaceAddress(address: any, prefixBits: 0), gateway: gateway)
  }

  public var isDefault: Bool { destination.prefixBits == 0 }

  public var description: String { gateway.map { "\(destination) via \($0)" } ?? "\(destination)" }
}

/// The routes of an interface. A destination's is the one with the longest prefix that matches; of equals, the first
/// that was added.
struct RouteTable {
  /// Longest prefix first.
  private(set) var routes: [Route] = []

  mutating func add(_ route: Route) {
    guard !routes.contains(route) else { return }
    let place = routes.firstIndex { $0.destination.prefixBits < route.destination.prefixBits }
    routes.insert(route, at: place ?? routes.endIndex)
  }

  mutating func remove(_ route: Route) { routes.removeAll { $0 == route } }

  func route(to destination: IPAddress) -> Route? { routes.first { $0.destination.contains(destination) } }
}
