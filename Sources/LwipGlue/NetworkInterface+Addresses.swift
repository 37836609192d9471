internal import CLwip
internal import Glibc

/// The interface's own addresses: how lwIP holds them, and in which state they are.
extension NetworkInterface {
  /// Gives the interface an address. IPv6 addresses pass duplicate address detection first (RFC 4862 section 5.4).
  /// - Returns: false where lwIP has no room for another IPv6 address.
  func add(_ address: InterfaceAddress) -> Bool {
    if address.address.isV6 {
      var ip = address.address.lwip(zone: index)
      var slot: Int8 = 0
      guard netif_add_ip6_address(netif, &ip.u_addr.ip6, &slot) == ERR_OK.rawValue else { return false }
      if address.address.isLoopback { netif_ip6_addr_set_state(netif, slot, UInt8(IP6_ADDR_PREFERRED)) }
      nc_netif_ip6_set_static(netif, slot)
    } else if !addresses.contains(where: { !$0.address.isV6 }) {
      showV4(address)
      netif_set_up(netif)
      hideV4()
    }
    addresses.append(address)
    return true
  }

  /// Takes an address away. Connections keep it, and come to nothing, as in Linux.
  func remove(_ address: InterfaceAddress) {
    addresses.removeAll { $0.address == address.address }
    if address.address.isV6 {
      if let slot = slot(of: address.address), slot > 0 {
        netif_ip6_addr_set_state(netif, slot, UInt8(IP6_ADDR_INVALID))
      }
    } else if nc_netif_ip4(netif) == address.address.v4Network {
      if let next = addresses.first(where: { !$0.address.isV6 }) { showV4(next) } else { nc_netif_put_ip4(netif, 0, 0) }
      hideV4()
    }
  }

  /// What a router says of the link's MTU counts for IPv6 (RFC 4861 section 6.3.4), between the least and the link's own.
  func setIPv6MTU(_ told: Int?) {
    ipv6MTU = min(mtu, max(told ?? mtu, 1280))
    if !offloads { nc_netif_set_mtu6(netif, UInt16(ipv6MTU)) }
  }

  /// Where lwIP holds an IPv6 address.
  func slot(of address: IPAddress) -> Int8? {
    (0..<Int8(nc_netif_ip6_capacity())).first {
      nc_netif_ip6_state(netif, $0) != UInt8(IP6_ADDR_INVALID) && addressV6(in: $0) == address
    }
  }

  func addressV6(in slot: Int8) -> IPAddress {
    withUnsafeBytes(of: nc_netif_ip6(netif, slot)!.pointee) { IPAddress(bytes: $0.baseAddress!, isV6: true) }
  }

  func showV4(_ address: InterfaceAddress) {
    let mask = address.prefixBits == 0 ? 0 : UInt32.max << UInt32(32 - address.prefixBits)
    nc_netif_put_ip4(netif, address.address.v4Network, mask.bigEndian)
  }

  /// With the packaged library: no address, unless the interface is being served.
  func hideV4() {
    if !Stack.isSourceBuild { nc_netif_put_ip4(netif, 0, 0) }
  }

  /// Runs `body` while lwIP sees the address that a packet speaks from.
  func showingSource<Result>(of header: UnsafeRawPointer, _ body: () -> Result) -> Result {
    guard !Stack.isSourceBuild else { return body() }
    let (address, mask) = (nc_netif_ip4(netif), nc_netif_ip4_mask(netif))
    let source = IPAddress(bytes: header + 12, isV6: false)
    if let own = addresses.first(where: { $0.address == source }) { showV4(own) }
    defer { nc_netif_put_ip4(netif, address, mask) }
    return body()
  }

  /// Whether any configured address still waits for duplicate address detection.
  public var hasTentativeAddresses: Bool { states.contains { nc_ip6_state_is_tentative($0.state) } }

  /// Configured IPv6 addresses that another host has already.
  public var duplicatedAddresses: [IPAddress] {
    states.filter { nc_ip6_state_is_duplicated($0.state) }.map(\.address)
  }

  private var states: [(address: IPAddress, state: UInt8)] {
    (0..<Int8(nc_netif_ip6_capacity())).compactMap { slot in
      let ip = addressV6(in: slot)
      guard addresses.contains(where: { $0.address == ip }) else { return nil }
      return (ip, nc_netif_ip6_state(netif, slot))
    }
  }

  /// Whether an IPv6 address may be spoken from (its detection is over) and still should be (RFC 6724 rule 3).
  func isPreferred(_ address: IPAddress) -> Bool {
    guard !dynamic.deprecated.contains(address), let slot = slot(of: address) else { return false }
    let state = nc_netif_ip6_state(netif, slot)
    return !nc_ip6_state_is_tentative(state) && !nc_ip6_state_is_duplicated(state)
  }

  /// Whether `address` is the interface's: configured, link-local or loopback.
  public func owns(_ address: IPAddress) -> Bool {
    if addresses.contains(where: { $0.address == address }) { return true }
    if !address.isV6 { return address.isLoopback }
    return address == linkLocal
  }

  /// fe80::/64 with the interface identifier made from the MAC (RFC 4291 appendix A).
  public var linkLocal: IPAddress { addressV6(in: 0) }
}
