internal import Glibc
internal import LwipGlue
internal import NetcondRPC

/// A datagram socket's membership in a multicast group (ip(7), ipv6(7)), with the sources it wants to hear or not.
struct Membership: Equatable {
  let group: IPAddress
  /// NC_INTERFACE_INDEX_LO or _NETWORK.
  let interface: UInt32
  /// Any source but those listed (IP_ADD_MEMBERSHIP, IP_BLOCK_SOURCE); else only those (IP_ADD_SOURCE_MEMBERSHIP).
  var excludes = true
  var sources: Set<IPAddress> = []

  func hears(_ source: IPAddress) -> Bool { sources.contains(source) != excludes }
}

/// What an app asks of its memberships: one of the options that join and leave groups and name sources.
struct MembershipRequest {
  enum Action {
    case join, leave, block, unblock, joinSource, leaveSource
  }

  let action: Action
  let group: IPAddress
  let source: IPAddress?
  /// The interface by index; 0: any.
  var interfaceIndex: UInt32 = 0
  /// Or by one of its addresses.
  var interfaceAddress: IPAddress?

  /// Whether the option is one of those. The numbers are linux/in.h's and in6.h's.
  static func concerns(level: Int32, name: Int32) -> Bool {
    switch level {
    case Int32(IPPROTO_IP): (35...40).contains(name) || (42...47).contains(name)
    case Int32(IPPROTO_IPV6): name == 20 || name == 21 || (42...47).contains(name)
    default: false
    }
  }

  /// Reads an option's value.
  /// - Throws: EINVAL for one that is too short or of another family.
  init(level: Int32, name: Int32, data: UnsafeRawBufferPointer) throws(StackError) {
    func address(_ offset: Int, isV6: Bool = false) throws(StackError) -> IPAddress {
      guard data.count >= offset + (isV6 ? 16 : 4), let base = data.baseAddress else { throw StackError(EINVAL) }
      return IPAddress(bytes: base + offset, isV6: isV6)
    }
    func index(_ offset: Int) throws(StackError) -> UInt32 {
      guard data.count >= offset + 4 else { throw StackError(EINVAL) }
      return data.loadUnaligned(fromByteOffset: offset, as: UInt32.self)
    }
    /// Of struct group_req and group_source_req: a struct sockaddr_storage.
    func storage(_ offset: Int) throws(StackError) -> IPAddress {
      guard data.count >= offset + 128 else { throw StackError(EINVAL) }
      switch Int32(data.loadUnaligned(fromByteOffset: offset, as: sa_family_t.self)) {
      case AF_INET: return try address(offset + 4)
      case AF_INET6: return try address(offset + 8, isV6: true)
      default: throw StackError(EINVAL)
      }
    }
    let isV6 = level == Int32(IPPROTO_IPV6)
    if name >= 42 {  // MCAST_JOIN_GROUP…: struct group_req {index, group}, group_source_req {index, group, source}
      let actions: [Action] = [.join, .block, .unblock, .leave, .joinSource, .leaveSource]
      action = actions[Int(name - 42)]
      interfaceIndex = try index(0)
      group = try storage(8)
      source = action == .join || action == .leave ? nil : try storage(136)
      guard group.isV6 == isV6, source.map({ $0.isV6 == isV6 }) ?? true else { throw StackError(EADDRNOTAVAIL) }
    } else if isV6 {  // struct ipv6_mreq
      action = name == 20 ? .join : .leave
      group = try address(0, isV6: true)
      interfaceIndex = try index(16)
      source = nil
    } else if name == 35 || name == 36 {  // struct ip_mreq, or struct ip_mreqn
      action = name == 35 ? .join : .leave
      group = try address(0)
      let own = try address(4)
      if data.count >= 12 { interfaceIndex = try index(8) }
      if interfaceIndex == 0, !own.isAny { interfaceAddress = own }
      source = nil
    } else {  // IP_UNBLOCK_SOURCE…: struct ip_mreq_source {group, interface, source}
      let actions: [Action] = [.unblock, .block, .joinSource, .leaveSource]
      action = actions[Int(name - 37)]
      group = try address(0)
      let own = try address(4)
      if !own.isAny { interfaceAddress = own }
      source = try address(8)
    }
  }

  /// Which interface is meant.
  /// - Throws: ENODEV for one that is not there.
  func interface(of network: NetworkInterface) throws(StackError) -> UInt32 {
    let (lo, own) = (UInt32(NC_INTERFACE_INDEX_LO), UInt32(NC_INTERFACE_INDEX_NETWORK))
    if interfaceIndex != 0 {
      guard interfaceIndex == lo || interfaceIndex == own else { throw StackError(ENODEV) }
      return interfaceIndex
    }
    guard let address = interfaceAddress else { return own }
    if address.isLoopback { return lo }
    guard network.owns(address) else { throw StackError(ENODEV) }
    return own
  }
}
