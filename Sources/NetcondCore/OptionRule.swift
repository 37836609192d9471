internal import Glibc

/// What kind of socket it is, as far as its options depend on it.
struct SocketKind: Equatable {
  enum Transport: Int, CaseIterable { case stream, datagram, ping }
  var transport = Transport.stream
  var isV6 = false
}

/// What an option is asked about: the socket's state and the network it is in. Values that only the stack knows are nil
/// where there are none.
struct OptionContext {
  enum Phase { case idle, bound, listening, connecting, connected }

  struct Interface {
    let name: String
    let index: Int32
  }

  var kind = SocketKind()
  var phase = Phase.idle
  /// Bound to an IPv6 address that is not "any": such a socket has no IPv4 side (Linux: inet6_bind).
  var isBoundToV6Address = false
  /// The local port (an echo identifier of an ICMP socket), in host byte order; 0 for none.
  var localPort: Int32 = 0
  /// The network's interfaces.
  var interfaces: [Interface] = []
  /// Whether the network has this IPv4 address, given in network byte order.
  var ownsV4: (UInt32) -> Bool = { _ in false }
  /// Largest packet towards the peer, in bytes; nil while there is none.
  var pathMTU: Int32?
  /// Payload bytes of a full segment of the connection.
  var segmentBytes: Int32?
  /// The most that the connection announces as its window, in bytes.
  var windowLimit: Int32?
  /// The network's number: what SO_NETNS_COOKIE tells apart.
  var networkNumber: UInt64 = 0
  // Of the call: filled in by `SocketOptions`.
  /// The option's value so far.
  var current: Int32 = 0
  /// Bytes that the caller gave.
  var length = 0

  var isStream: Bool { kind.transport == .stream }
  func hasInterface(index: Int32) -> Bool { interfaces.contains { $0.index == index } }
}

/// How an option behaves whose value is an int: its value before it is set, for whom it exists, and what it may be set to.
///
/// The rules are Linux 6.18's (net/core/sock.c, net/ipv4/tcp.c, net/ipv4/ip_sockglue.c, net/ipv6/ipv6_sockglue.c), for a
/// process without privileges: nobody is privileged in a virtual network.
struct OptionRule: Sendable {
  enum Verdict: Equatable {
    /// The value to keep.
    case keep(Int32)
    /// Success without an effect, where Linux has none either.
    case ignore
    /// An errno.
    case refuse(Int32)
  }

  /// What Linux makes of fewer than four bytes.
  enum Short: Sendable {
    /// EINVAL.
    case refused
    /// It counts as 0.
    case zero
    /// The first byte counts; none is 0.
    case byte
    /// The first byte counts; none is EINVAL.
    case someByte
    /// EINVAL, and so are more than four.
    case exact
    /// Nothing is looked at before the rule decides, neither length nor pointer.
    case unseen
  }

  /// What getsockopt gives.
  enum Reading: Sendable {
    case value
    /// A length of 0.
    case nothing
    case error(Int32)
  }

  struct Transports: OptionSet, Sendable {
    let rawValue: UInt8
    static let stream = Transports(rawValue: 1), datagram = Transports(rawValue: 2), ping = Transports(rawValue: 4)
    static let all: Transports = [.stream, .datagram, .ping]
    func contains(_ transport: SocketKind.Transport) -> Bool {
      switch transport {
      case .stream: contains(Transports.stream)
      case .datagram: contains(Transports.datagram)
      case .ping: contains(Transports.ping)
      }
    }
  }

  var initial: Int32 = 0
  var initialOfDatagrams: Int32?
  var initialOfPings: Int32?
  var initialOfV6: Int32?
  /// Who has the option, and what the others get.
  var transports = Transports.all
  var elsewhere = (set: ENOPROTOOPT, reading: Reading.error(ENOPROTOOPT))
  /// nil: what the level does (`OptionLevel.short`).
  var short: Short?
  var reading = Reading.value
  /// getsockopt with less room than this fails with EINVAL.
  var leastRoom = 0
  var set: @Sendable (Int32, OptionContext) -> Verdict

  func initial(_ kind: SocketKind) -> Int32 {
    if kind.isV6, let initialOfV6 { return initialOfV6 }
    switch kind.transport {
    case .stream: return initial
    case .datagram: return initialOfDatagrams ?? initial
    case .ping: return initialOfPings ?? initialOfDatagrams ?? initial
    }
  }

  // MARK: The common shapes

  /// Any value but 0 counts as on, and reads back as 1.
  static let flag = OptionRule { value, _ in .keep(value != 0 ? 1 : 0) }
  /// Any value.
  static let any = OptionRule { value, _ in .keep(value) }
  /// 0 or 1.
  static let strictFlag = range(0...1)

  static func range(_ range: ClosedRange<Int32>, initial: Int32 = 0) -> OptionRule {
    OptionRule(initial: initial) { value, _ in range.contains(value) ? .keep(value) : .refuse(EINVAL) }
  }

  /// -1 stands for the initial value.
  static func range(_ range: ClosedRange<Int32>, default initial: Int32) -> OptionRule {
    OptionRule(initial: initial) { value, _ in
      if value == -1 { return .keep(initial) }
      return range.contains(value) ? .keep(value) : .refuse(EINVAL)
    }
  }

  /// Only read.
  static func constant(_ value: Int32) -> OptionRule {
    OptionRule(initial: value) { _, _ in .refuse(ENOPROTOOPT) }
  }

  /// Whatever is set is refused with `code`; it reads as 0.
  static func refused(_ code: Int32) -> OptionRule { OptionRule { _, _ in .refuse(code) } }

  /// 0 is what it is; turning it on is refused with `code`.
  static func off(_ code: Int32) -> OptionRule {
    OptionRule { value, _ in value == 0 ? .keep(0) : .refuse(code) }
  }

  func with(_ change: (inout OptionRule) -> Void) -> OptionRule {
    var rule = self
    change(&rule)
    return rule
  }
  func starting(_ value: Int32) -> OptionRule { with { $0.initial = value } }
  /// The others can neither set nor read it.
  func onlyFor(_ transports: Transports, else code: Int32 = ENOPROTOOPT) -> OptionRule {
    with {
      $0.transports = transports
      $0.elsewhere = (code, .error(code))
    }
  }
  /// The others read its initial value.
  func settableBy(_ transports: Transports, else code: Int32) -> OptionRule {
    with {
      $0.transports = transports
      $0.elsewhere = (code, .value)
    }
  }
  func whenShort(_ short: Short) -> OptionRule { with { $0.short = short } }
  func reading(_ reading: Reading) -> OptionRule { with { $0.reading = reading } }
  /// Can only be set.
  var unreadable: OptionRule { reading(.error(ENOPROTOOPT)) }
}

/// The options of one level.
struct OptionLevel: Sendable {
  /// What fewer than four bytes are, where an option does not say otherwise.
  let short: OptionRule.Short
  /// The length is looked at before the name.
  var checksLengthFirst = false
  /// A null pointer counts as 0 (net/ipv6/ipv6_sockglue.c).
  var nullIsZero = false
  /// A value between 0 and 255 is read into fewer than four bytes as one byte (net/ipv4/ip_sockglue.c); the address of
  /// IP_MULTICAST_IF is not.
  var readsAsByte = false
  let rules: [Int32: OptionRule]
}
