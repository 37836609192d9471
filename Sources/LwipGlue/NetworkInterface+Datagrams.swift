internal import CLwip
internal import Glibc

/// What an interface keeps for datagrams.
struct InterfaceDatagramState {
  /// Groups, and how often each was joined.
  var memberships: [IPAddress: Int] = [:]
  var reassembly = Reassembly()
  /// A next hop whose hardware address was known a moment ago.
  var knownHop: (address: IPAddress, untilMilliseconds: UInt64)?
  var pathMTUs: [IPAddress: (mtu: Int, expiresMilliseconds: UInt64)] = [:]
}

/// Addresses, groups and path MTUs, as datagram sockets need them.
extension NetworkInterface {
  // MARK: Addresses

  /// The address that a datagram to `destination` speaks from.
  /// - Throws: ENETUNREACH where there is no route, or no address of the family.
  public func datagramSource(for destination: IPAddress) throws(StackError) -> IPAddress {
    if destination.isAny { return destination.isV6 ? .loopbackV6 : .loopbackV4 }
    guard reaches(destination) else { throw StackError(ENETUNREACH) }
    if destination.isV6, destination.isMulticast {
      // RFC 6724 rule 2: an address whose scope is the group's (RFC 4291 section 2.7), where there is one.
      let scope = destination.high >> 48 & 0xf
      if scope <= 2 { return linkLocal }
    }
    guard let source = sourceAddress(for: destination) ?? (destination.isV6 ? linkLocal : nil) else {
      throw StackError(ENETUNREACH)
    }
    return source
  }

  /// Whether `address` is 255.255.255.255 or the directed broadcast address of one of the interface's subnets.
  public func isBroadcast(_ address: IPAddress) -> Bool {
    address.isLimitedBroadcast || addresses.contains { $0.broadcast == address }
  }

  /// Whether datagrams to `destination` have somewhere to go: groups and broadcasts are the link's own.
  func reaches(_ destination: IPAddress) -> Bool {
    guard destination.isMulticast || destination.isLimitedBroadcast else { return hasRoute(to: destination) }
    return destination.isV6 || addresses.contains { !$0.address.isV6 }
  }

  // MARK: Groups

  /// Joins a group on this interface; lwIP tells the routers (IGMPv2, MLDv1) at the first of several.
  /// - Throws: EINVAL for what is no multicast address, ENOBUFS without memory.
  public func join(_ group: IPAddress) throws(StackError) {
    guard group.isMulticast else { throw StackError(EINVAL) }
    let count = datagrams.memberships[group, default: 0]
    if count == 0 {
      guard setMembership(group, true) == ERR_OK.rawValue else { throw StackError(ENOBUFS) }
    }
    datagrams.memberships[group] = count + 1
  }

  /// Gives back one `join`.
  /// - Throws: EADDRNOTAVAIL where the interface has not joined.
  public func leave(_ group: IPAddress) throws(StackError) {
    guard let count = datagrams.memberships[group] else { throw StackError(EADDRNOTAVAIL) }
    datagrams.memberships[group] = count > 1 ? count - 1 : nil
    if count == 1 { _ = setMembership(group, false) }
  }

  /// What was joined.
  public var groups: [IPAddress] { Array(datagrams.memberships.keys) }

  private func setMembership(_ group: IPAddress, _ isMember: Bool) -> err_t {
    var ip = group.lwip(zone: index)
    if group.isV6 {
      return isMember ? mld6_joingroup_netif(netif, &ip.u_addr.ip6) : mld6_leavegroup_netif(netif, &ip.u_addr.ip6)
    }
    return isMember ? igmp_joingroup_netif(netif, &ip.u_addr.ip4) : igmp_leavegroup_netif(netif, &ip.u_addr.ip4)
  }

  /// Whether datagrams to the group are the interface's own too.
  func isMember(of group: IPAddress) -> Bool {
    datagrams.memberships[group] != nil || group == .allHostsV4 || group == .allNodesV6
  }

  // MARK: Path MTU

  /// How long a path's smaller MTU is believed (RFC 1191 section 6.3, RFC 8201 section 4).
  private static let pathMTUMilliseconds: UInt64 = 600_000
  private static let pathMTULimit = 1024

  /// The largest packet that goes to `destination` whole, in bytes with the IP header.
  public func pathMTU(to destination: IPAddress) -> Int {
    let mtu = destination.isV6 ? ipv6MTU : mtu
    guard !datagrams.pathMTUs.isEmpty, let entry = datagrams.pathMTUs[destination] else { return mtu }
    guard entry.expiresMilliseconds > stack.nowMilliseconds else {
      datagrams.pathMTUs[destination] = nil
      return mtu
    }
    return min(entry.mtu, mtu)
  }

  /// A router told the MTU of its next link. Values below what each path has to offer are raised: Linux's
  /// net.ipv4.route.min_pmtu, and RFC 8200 section 5.
  /// - Returns: what is believed.
  func lowerPathMTU(to destination: IPAddress, _ told: Int) -> Int {
    let believed = min(pathMTU(to: destination), max(told, destination.isV6 ? 1280 : 552))
    guard believed < mtu else { return believed }
    if datagrams.pathMTUs.count >= Self.pathMTULimit, datagrams.pathMTUs[destination] == nil {
      datagrams.pathMTUs = datagrams.pathMTUs.filter { $0.value.expiresMilliseconds > stack.nowMilliseconds }
      if datagrams.pathMTUs.count >= Self.pathMTULimit { datagrams.pathMTUs = [:] }
    }
    datagrams.pathMTUs[destination] = (believed, stack.nowMilliseconds + Self.pathMTUMilliseconds)
    return believed
  }
}

extension IPAddress {
  /// 224.0.0.1 and ff02::1, which every interface has joined.
  static let allHostsV4 = IPAddress("224.0.0.1")!
  static let allNodesV6 = IPAddress("ff02::1")!
}
