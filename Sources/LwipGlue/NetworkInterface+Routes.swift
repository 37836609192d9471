internal import CLwip

/// Who gave an interface addresses and routes while it runs.
public enum AddressSource: Hashable, Sendable {
  /// The link: its controller assigns them.
  case link
  /// Routers' advertisements.
  case router
  /// A DHCP server.
  case dhcp
}

/// Addresses and routes of one source.
struct Assignment {
  var addresses: [InterfaceAddress] = []
  var routes: [Route] = []
}

/// Where packets go: own subnets and routes in one order, the longest prefix first (RFC 1812 section 5.2.4.3).
extension NetworkInterface {
  /// All routes there are now besides the subnets of the addresses, the longest prefix first.
  public var currentRoutes: [Route] { routes.routes }

  func add(_ route: Route) {
    routes.add(route)
    showGateway()
  }

  /// lwIP's own gateway is asked only where there is no hook: in the packaged library.
  private func showGateway() {
    let gateway = routes.route(to: .anyV4)?.gateway
    var ip = ip4_addr_t(addr: gateway?.v4Network ?? 0)
    netif_set_gw(netif, &ip)
  }

  /// Replaces what `source` had assigned. Sockets keep the address they have.
  /// - Returns: addresses for which lwIP has no room; they are left out.
  @discardableResult
  public func assign(
    addresses: [InterfaceAddress], routes: [Route], by source: AddressSource
  ) -> [InterfaceAddress] {
    let former = assigned[source] ?? Assignment()
    for route in former.routes where !routes.contains(route) { self.routes.remove(route) }
    for address in former.addresses where !addresses.contains(address) { remove(address) }
    var refused: [InterfaceAddress] = []
    for address in addresses where !self.addresses.contains(where: { $0.address == address.address }) {
      if !add(address) { refused.append(address) }
    }
    for route in routes { self.routes.add(route) }
    assigned[source] = Assignment(addresses: addresses.filter { !refused.contains($0) }, routes: routes)
    showGateway()
    nd6_clear_destination_cache()  // it keeps next hops
    return refused
  }

  /// The neighbour that takes packets to `destination`: itself where it is on the link; nil without a route.
  func nextHop(to destination: IPAddress) -> IPAddress? {
    let subnetBits = addresses.lazy.filter { $0.contains(destination) }.map(\.prefixBits).max() ?? -1
    guard let route = routes.route(to: destination), route.destination.prefixBits > subnetBits else {
      return subnetBits >= 0 || destination.isV6 && destination.isLinkLocal ? destination : nil
    }
    return route.gateway ?? destination
  }

  /// Whether packets to `destination` have somewhere to go.
  public func hasRoute(to destination: IPAddress) -> Bool {
    destination.isLoopback || owns(destination) || nextHop(to: destination) != nil
  }

  /// The address to speak from towards `destination`: of the same subnet if there is one, then of the gateway's (RFC 6724
  /// rule 8, simplified).
  public func sourceAddress(for destination: IPAddress) -> IPAddress? {
    if destination.isLoopback { return destination.isV6 ? .loopbackV6 : .loopbackV4 }
    if owns(destination) { return destination }
    if destination.isV6 && destination.isLinkLocal { return linkLocal }
    var candidates = addresses.filter { $0.address.isV6 == destination.isV6 && !$0.address.isLoopback }
    if candidates.count > 1, destination.isV6 {
      let good = candidates.filter { isPreferred($0.address) }
      if !good.isEmpty { candidates = good }
    }
    func closest(to neighbour: IPAddress) -> IPAddress? {
      candidates.filter { $0.contains(neighbour) }.max { $0.prefixBits < $1.prefixBits }?.address
    }
    return closest(to: destination) ?? nextHop(to: destination).flatMap(closest) ?? candidates.first?.address
  }

  /// lwIP asks for the next hop of what is not on the subnet it knows.
  func nextHopV4(_ destination: UnsafePointer<ip4_addr_t>) -> UnsafePointer<ip4_addr_t>? {
    guard let hop = nextHop(to: IPAddress(bytes: destination, isV6: false)) else { return nil }
    hopV4 = ip4_addr_t(addr: hop.v4Network)
    return withUnsafePointer(to: &hopV4) { $0 }
  }

  func nextHopV6(_ destination: UnsafePointer<ip6_addr_t>) -> UnsafePointer<ip6_addr_t>? {
    guard let hop = nextHop(to: IPAddress(bytes: destination, isV6: true)) else { return nil }
    hopV6 = hop.lwip(zone: index).u_addr.ip6
    return withUnsafePointer(to: &hopV6) { $0 }
  }
}
