internal import Glibc

/// ip(7), ipv6(7), udp(7): the levels IPPROTO_IP, IPPROTO_IPV6 and IPPROTO_UDP. Names that Glibc's module lacks are
/// numbers of linux/in.h, in6.h and udp.h. A socket of the family AF_INET6 has both levels.
extension SocketOptions {
  /// IP_TOS on a stream: ECN is TCP's own (RFC 3168).
  private static func trafficClass(_ value: Int32, _ context: OptionContext) -> Int32 {
    value & (context.isStream ? 0xfc : 0xff)
  }

  static let ipLevel: OptionLevel = {
    var rules: [Int32: OptionRule] = [:]
    for name: Int32 in [
      6,  // IP_RECVOPTS
      7,  // IP_RETOPTS
      8,  // IP_PKTINFO
      11,  // IP_RECVERR
      12,  // IP_RECVTTL
      13,  // IP_RECVTOS
      18,  // IP_PASSSEC
      20,  // IP_RECVORIGDSTADDR
      23,  // IP_CHECKSUM
      24,  // IP_BIND_ADDRESS_NO_PORT
    ] {
      rules[name] = .flag
    }
    rules[1] = OptionRule { .keep(trafficClass($0, $1)) }  // IP_TOS
    rules[2] = OptionRule(initial: 64) { value, _ in  // IP_TTL
      value == -1 ? .keep(64) : (1...255).contains(value) ? .keep(value) : .refuse(EINVAL)
    }.whenShort(.someByte)
    rules[3] = .constant(0)  // IP_HDRINCL: of raw sockets
    rules[5] = .refused(EINVAL)  // IP_ROUTER_ALERT: likewise
    // IP_MTU_DISCOVER
    rules[10] = .range(0...5, initial: 1)
    rules[15] = .flag.whenShort(.someByte)  // IP_FREEBIND
    for name: Int32 in [16, 17] { rules[name] = .refused(EPERM).whenShort(.unseen).unreadable }  // IPsec
    rules[19] = .off(EPERM).whenShort(.someByte)  // IP_TRANSPARENT
    rules[21] = .range(0...255).whenShort(.someByte)  // IP_MINTTL
    rules[22] = .constant(0)  // IP_NODEFRAG: of raw sockets
    rules[25] = .flag.settableBy([.datagram, .ping], else: EINVAL)  // IP_RECVFRAGSIZE
    rules[26] = .strictFlag  // IP_RECVERR_RFC4884
    rules[32] = .refused(EINVAL).whenShort(.unseen)  // IP_MULTICAST_IF, of streams: see `setMulticastInterface`
    rules[33] = OptionRule(initial: 1) { value, context in  // IP_MULTICAST_TTL
      guard !context.isStream else { return .refuse(EINVAL) }
      return value == -1 ? .keep(1) : (0...255).contains(value) ? .keep(value) : .refuse(EINVAL)
    }.whenShort(.someByte)
    rules[34] = .flag.starting(1).whenShort(.someByte)  // IP_MULTICAST_LOOP
    rules[49] = .strictFlag.starting(1).whenShort(.someByte).with { $0.initialOfV6 = 0 }  // IP_MULTICAST_ALL
    rules[50] = interfaceRule  // IP_UNICAST_IF
    rules[51] = OptionRule { value, _ in  // IP_LOCAL_PORT_RANGE: the lowest port, the highest above it; 0 is open
      let (low, high) = (value & 0xffff, value >> 16 & 0xffff)
      return low == 0 || high == 0 || low <= high ? .keep(value) : .refuse(EINVAL)
    }.whenShort(.exact)
    rules[4] = OptionRule { _, context in  // IP_OPTIONS: the stack sends none
      context.length == 0 ? .ignore : .refuse(ENOPROTOOPT)
    }.whenShort(.unseen).reading(.nothing)
    rules[9] = .refused(ENOPROTOOPT).whenShort(.unseen).onlyFor(.stream).reading(.nothing)  // IP_PKTOPTIONS
    rules[14] = .refused(ENOPROTOOPT).whenShort(.unseen)  // IP_MTU: see `reading`
    rules[52] = .refused(ENOPROTOOPT).whenShort(.unseen)  // the local port: likewise
    // Memberships: of streams. `MembershipRequest` has those of datagram sockets.
    for name: Int32 in 35...48 {
      rules[name] =
        OptionRule { _, context in .refuse(context.isStream && name < 37 ? EPROTO : EINVAL) }
        .whenShort(.unseen).unreadable
    }
    rules[41]?.reading = .error(ENODEV)  // IP_MSFILTER
    rules[41]?.leastRoom = 16
    rules[48]?.reading = .error(EINVAL)  // MCAST_MSFILTER
    rules[80] = .refused(ENOPROTOOPT).whenShort(.unseen).reading(.error(ENOENT))  // SO_ORIGINAL_DST: no NAT
      .onlyFor(.stream).with { $0.leastRoom = 16 }
    // iptables' and arptables' own numbers: of an administrator.
    for name: Int32 in [64, 65, 66, 67, 83, 96, 97, 98, 99] {
      let canSet = [64, 65, 96, 97].contains(name)
      rules[name] = .refused(canSet ? EPERM : ENOPROTOOPT).whenShort(.unseen).reading(.error(EPERM))
    }
    return OptionLevel(short: .byte, readsAsByte: true, rules: rules)
  }()

  /// IP_UNICAST_IF, IPV6_UNICAST_IF: an interface's number in network byte order, 0 for none.
  private static let interfaceRule = OptionRule { value, context in
    let index = Int32(bigEndian: value)
    return value == 0 || context.hasInterface(index: index) ? .keep(value) : .refuse(EADDRNOTAVAIL)
  }.whenShort(.exact)

  static let ipv6Level: OptionLevel = {
    var rules: [Int32: OptionRule] = [:]
    for name: Int32 in [
      2, 3, 4, 5, 8, 11,  // the options of RFC 2292: PKTINFO, HOPOPTS, DSTOPTS, RTHDR, HOPLIMIT; FLOWINFO
      25,  // IPV6_RECVERR
      33,  // IPV6_FLOWINFO_SEND
      49, 51, 53, 56, 58, 60,  // IPV6_RECVPKTINFO, HOPLIMIT, HOPOPTS, RTHDR, DSTOPTS, PATHMTU
      66,  // IPV6_RECVTCLASS
      74,  // IPV6_RECVORIGDSTADDR
      78,  // IPV6_FREEBIND
    ] {
      rules[name] = .flag
    }
    rules[29] = .flag.starting(1)  // IPV6_MULTICAST_ALL
    rules[62] = .flag.whenShort(.zero)  // IPV6_DONTFRAG
    rules[70] = .flag.starting(1).whenShort(.zero)  // IPV6_AUTOFLOWLABEL
    rules[77] = .flag.whenShort(.zero)  // IPV6_RECVFRAGSIZE
    rules[16] = .range(0...255, default: 64)  // IPV6_UNICAST_HOPS
    // IPV6_MULTICAST_IF, _HOPS
    rules[17] = OptionRule { value, context in
      value == 0 || context.hasInterface(index: value) ? .keep(value) : .refuse(ENODEV)
    }.settableBy([.datagram, .ping], else: ENOPROTOOPT)
    rules[18] = .range(0...255, default: 1).settableBy([.datagram, .ping], else: ENOPROTOOPT)
    rules[19] = .strictFlag.starting(1)  // IPV6_MULTICAST_LOOP
    rules[22] = .constant(0)  // IPV6_HDRINCL
    rules[23] = .range(0...5, initial: 1)  // IPV6_MTU_DISCOVER
    rules[24] = OptionRule { value, _ in value == 0 || value >= 1280 ? .ignore : .refuse(EINVAL) }  // IPV6_MTU
    rules[26] = OptionRule { value, context in  // IPV6_V6ONLY: not once it has a port
      context.localPort == 0 ? .keep(value != 0 ? 1 : 0) : .refuse(EINVAL)
    }.with { $0.initialOfPings = 1 }
    rules[30] = .flag  // IPV6_ROUTER_ALERT_ISOLATE
    rules[31] = .strictFlag  // IPV6_RECVERR_RFC4884
    rules[32] = .refused(EINVAL).whenShort(.unseen).reading(.error(EINVAL))  // IPV6_FLOWLABEL_MGR
    for name: Int32 in [34, 35] { rules[name] = .refused(EPERM).whenShort(.unseen).unreadable }  // IPSEC, XFRM policy
    for name: Int32 in [54, 55, 59] {  // IPV6_HOPOPTS, RTHDRDSTOPTS, DSTOPTS: of an administrator
      rules[name] = .refused(EPERM).whenShort(.unseen).reading(.nothing)
    }
    for name: Int32 in [64, 65, 68, 69] {  // ip6tables
      rules[name] = .refused(name < 66 ? EPERM : ENOPROTOOPT).whenShort(.unseen).reading(.error(EPERM))
    }
    rules[67] = OptionRule { value, context in  // IPV6_TCLASS
      if value == -1 { return .keep(0) }
      return (0...255).contains(value) ? .keep(trafficClass(value, context)) : .refuse(EINVAL)
    }
    rules[72] = OptionRule(initial: 0x500) { addressPreferences($0, before: $1.current) }
    rules[73] = .range(0...255)  // IPV6_MINHOPCOUNT
    rules[75] = .off(EPERM)  // IPV6_TRANSPARENT
    rules[76] = interfaceRule  // IPV6_UNICAST_IF
    rules[1] = OptionRule { value, context in  // IPV6_ADDRFORM: no socket becomes one of AF_INET
      guard value == AF_INET else { return .refuse(EINVAL) }
      return .refuse(context.phase == .connected ? EADDRNOTAVAIL : ENOTCONN)
    }
    // IPV6_2292PKTOPTIONS; of streams it reads as nothing: see `getStructure`
    rules[6] =
      OptionRule { _, context in context.length < 16 ? .ignore : .refuse(EINVAL) }
      .whenShort(.unseen).unreadable
    for name: Int32 in [20, 21] {  // memberships of streams
      rules[name] = structure(20) { $0.isStream ? EPROTO : EINVAL }
    }
    rules[27] = structure(20) { _ in EPERM }  // IPV6_JOIN_ANYCAST, _LEAVE_
    rules[28] = structure(20) { _ in ENOENT }
    for name: Int32 in 42...48 { rules[name] = .refused(EINVAL).whenShort(.unseen).unreadable }
    rules[48]?.reading = .error(EADDRNOTAVAIL)  // MCAST_MSFILTER
    rules[48]?.leastRoom = 144
    rules[50] = structure(20) { _ in EOPNOTSUPP }  // IPV6_PKTINFO, the sticky one
    rules[57] = OptionRule { _, context in context.length == 0 ? .ignore : .refuse(EINVAL) }  // IPV6_RTHDR
      .whenShort(.unseen).reading(.nothing)
    rules[61] = .refused(ENOPROTOOPT).whenShort(.unseen).with { $0.leastRoom = 32 }  // IPV6_PATHMTU: see `reading`
    rules[80] = .refused(ENOPROTOOPT).whenShort(.unseen).reading(.error(ENOENT))  // IP6T_SO_ORIGINAL_DST: no NAT
      .onlyFor(.stream).with { $0.leastRoom = 28 }
    return OptionLevel(short: .refused, nullIsZero: true, rules: rules)
  }()

  /// An option that takes a struct of `bytes` bytes, and refuses it.
  private static func structure(
    _ bytes: Int, _ code: @escaping @Sendable (OptionContext) -> Int32
  ) -> OptionRule {
    OptionRule { _, context in .refuse(context.length < bytes ? EINVAL : code(context)) }.whenShort(.unseen).unreadable
  }

  /// IPV6_ADDR_PREFERENCES (RFC 5014): three groups of flags, of each at most one; a group that is left out stays.
  private static func addressPreferences(_ value: Int32, before: Int32) -> OptionRule.Verdict {
    let (temporary, public_, either): (Int32, Int32, Int32) = (1, 2, 0x100)
    let (careOf, home): (Int32, Int32) = (4, 0x400)
    let (generated, plain): (Int32, Int32) = (8, 0x800)
    let source = value & (temporary | public_ | either)
    let mobility = value & (careOf | home)
    guard source & (source &- 1) == 0, mobility != careOf | home, value & (generated | plain) != generated | plain
    else {
      return .refuse(EINVAL)
    }
    return .keep(
      (source != 0 ? source : before & (temporary | public_ | either))
        | (mobility != 0 ? mobility : before & (careOf | home)))
  }

  static let udpLevel: OptionLevel = {
    var rules: [Int32: OptionRule] = [:]
    rules[1] = .flag  // UDP_CORK
    for name: Int32 in [10, 11] { rules[name] = .constant(0) }  // UDPLITE_SEND_CSCOV, _RECV_
    rules[100] = .off(ENOPROTOOPT)  // UDP_ENCAP: IPsec
    for name: Int32 in [101, 102] { rules[name] = .off(ENOPROTOOPT) }  // UDP_NO_CHECK6_TX, _RX: checksums stay
    rules[103] = .range(0...65_535)  // UDP_SEGMENT
    rules[104] = .flag  // UDP_GRO: coalescing is the receiver's choice, never here
    return OptionLevel(short: .refused, checksLengthFirst: true, rules: rules)
  }()
}
