internal import Glibc
internal import LwipGlue
internal import NetcondRPC
internal import Slab

/// Memberships of datagram sockets, as Linux keeps them (ip_mc_join_group, ip_mc_source, ipv6_sock_mc_join): they end with
/// the socket; the stack counts how many there are to a group.
extension Daemon {
  /// net.ipv4.igmp_max_memberships
  private static let membershipLimit = 20

  /// Joins, leaves, or changes the sources of a membership. Returns 0 or an errno.
  func changeMembership(
    _ socket: UnsafeMutablePointer<DatagramSocket>, level: Int32, name: Int32, data: UnsafeRawBufferPointer
  ) -> Int32 {
    let interface = networkTable[socket.pointee.network].interface!
    do {
      let request = try MembershipRequest(level: level, name: name, data: data)
      guard request.group.isMulticast else { return EINVAL }
      let index = try request.interface(of: interface)
      let place = socket.pointee.memberships.firstIndex { $0.group == request.group && $0.interface == index }
      switch request.action {
      case .join:
        guard place == nil else { return EADDRINUSE }
        try join(socket, Membership(group: request.group, interface: index))
      case .leave:
        guard let place else { return EADDRNOTAVAIL }
        leave(socket, place)
      case .block, .unblock:
        guard let place else { return EINVAL }
        return changeSources(socket, place, request.source!, excludes: true, adds: request.action == .block)
      case .joinSource:
        if place == nil {
          try join(socket, Membership(group: request.group, interface: index, excludes: false))
        }
        let place = place ?? socket.pointee.memberships.count - 1
        return changeSources(socket, place, request.source!, excludes: false, adds: true)
      case .leaveSource:
        guard let place else { return EINVAL }
        let status = changeSources(socket, place, request.source!, excludes: false, adds: false)
        if status == 0, socket.pointee.memberships[place].sources.isEmpty { leave(socket, place) }
        return status
      }
      return 0
    } catch {
      return error.code
    }
  }

  private func join(_ socket: UnsafeMutablePointer<DatagramSocket>, _ membership: Membership) throws(StackError) {
    let isOfFamily = socket.pointee.memberships.count { $0.group.isV6 == membership.group.isV6 }
    guard membership.group.isV6 || isOfFamily < Self.membershipLimit else { throw StackError(ENOBUFS) }
    if membership.interface == UInt32(NC_INTERFACE_INDEX_NETWORK) {
      try networkTable[socket.pointee.network].interface.join(membership.group)
    }
    socket.pointee.memberships.append(membership)
  }

  private func leave(_ socket: UnsafeMutablePointer<DatagramSocket>, _ place: Int) {
    let membership = socket.pointee.memberships.remove(at: place)
    guard membership.interface == UInt32(NC_INTERFACE_INDEX_NETWORK) else { return }
    try? networkTable[socket.pointee.network].interface.leave(membership.group)
  }

  func leaveAll(_ socket: UnsafeMutablePointer<DatagramSocket>) {
    while !socket.pointee.memberships.isEmpty { leave(socket, socket.pointee.memberships.count - 1) }
  }

  /// The mode may change only while no source is named (ip_mc_source).
  private func changeSources(
    _ socket: UnsafeMutablePointer<DatagramSocket>, _ place: Int, _ source: IPAddress, excludes: Bool, adds: Bool
  ) -> Int32 {
    var membership = socket.pointee.memberships[place]
    if membership.excludes != excludes {
      guard membership.sources.isEmpty else { return EINVAL }
      membership.excludes = excludes
    }
    let isChanged = adds ? membership.sources.insert(source).inserted : membership.sources.remove(source) != nil
    guard isChanged else { return EADDRNOTAVAIL }
    socket.pointee.memberships[place] = membership
    return 0
  }

  /// Whether a socket hears what `source` sends to the group (ip_mc_sf_allow).
  func hears(
    _ socket: UnsafeMutablePointer<DatagramSocket>, group: IPAddress, source: IPAddress, interface: UInt32
  ) -> Bool {
    let own = socket.pointee.memberships.first { $0.group == group && $0.interface == interface }
    guard let own else {
      let settings = socket.pointee.settings
      return group.isV6 ? settings.hearsAllGroupsV6 : settings.hearsAllGroups
    }
    return own.hears(source)
  }
}
