internal import Glibc

/// The socket options the daemon keeps, by Linux's names and values (socket(7), tcp(7), ip(7), ipv6(7)).
struct SocketOptions {
  struct Key: Hashable {
    let level: Int32
    let name: Int32
  }

  /// How an option behaves: its value before it is set, and what it may be set to.
  private struct Rule {
    let initial: Int32
    let range: ClosedRange<Int32>
    /// Any value counts as on, and reads back as 1.
    var isFlag = false
  }

  private static let any = Int32.min...Int32.max
  private static let flag = Rule(initial: 0, range: any, isFlag: true)

  /// linux/in.h, linux/in6.h, linux/tcp.h: names that Glibc's headers for Swift lack stand as numbers.
  private static let rules: [Key: Rule] = [
    Key(level: SOL_SOCKET, name: SO_REUSEADDR): flag, Key(level: SOL_SOCKET, name: SO_REUSEPORT): flag,
    Key(level: SOL_SOCKET, name: SO_KEEPALIVE): flag, Key(level: SOL_SOCKET, name: SO_BROADCAST): flag,
    Key(level: SOL_SOCKET, name: SO_OOBINLINE): flag, Key(level: SOL_SOCKET, name: SO_DONTROUTE): flag,
    Key(level: SOL_SOCKET, name: SO_SNDBUF): Rule(initial: 16_384, range: any),
    Key(level: SOL_SOCKET, name: SO_RCVBUF): Rule(initial: 131_072, range: any),
    Key(level: SOL_SOCKET, name: SO_PRIORITY): Rule(initial: 0, range: 0...6),
    Key(level: Int32(IPPROTO_TCP), name: 1 /* TCP_NODELAY */): flag,
    Key(level: Int32(IPPROTO_TCP), name: 3 /* TCP_CORK */): flag,
    Key(level: Int32(IPPROTO_TCP), name: 4 /* TCP_KEEPIDLE, s */): Rule(initial: 7200, range: 1...32_767),
    Key(level: Int32(IPPROTO_TCP), name: 5 /* TCP_KEEPINTVL, s */): Rule(initial: 75, range: 1...32_767),
    Key(level: Int32(IPPROTO_TCP), name: 6 /* TCP_KEEPCNT */): Rule(initial: 9, range: 1...127),
    Key(level: Int32(IPPROTO_TCP), name: 12 /* TCP_QUICKACK */): Rule(initial: 1, range: any, isFlag: true),
    Key(level: Int32(IPPROTO_IP), name: 1 /* IP_TOS */): Rule(initial: 0, range: 0...255),
    Key(level: Int32(IPPROTO_IP), name: 2 /* IP_TTL */): Rule(initial: 64, range: -1...255),
    Key(level: Int32(IPPROTO_IPV6), name: 26 /* IPV6_V6ONLY */): flag,
    Key(level: Int32(IPPROTO_IPV6), name: 67 /* IPV6_TCLASS */): Rule(initial: 0, range: -1...255),
    Key(level: Int32(IPPROTO_IPV6), name: 16 /* IPV6_UNICAST_HOPS */): Rule(initial: 64, range: -1...255),
  ]

  private var values: [Key: Int32] = [:]
  /// SO_LINGER: nil is off, else seconds.
  private(set) var lingerSeconds: Int32?

  /// Sets an option.
  /// - Returns: 0, or the positive errno that Linux gives.
  mutating func set(level: Int32, name: Int32, data: UnsafeRawBufferPointer) -> Int32 {
    if level == SOL_SOCKET, name == SO_LINGER {
      guard data.count >= 8 else { return EINVAL }
      let isOn = data.loadUnaligned(as: Int32.self) != 0
      lingerSeconds = isOn ? data.loadUnaligned(fromByteOffset: 4, as: Int32.self) : nil
      return 0
    }
    let key = Key(level: level, name: name)
    guard let rule = Self.rules[key] else { return ENOPROTOOPT }
    var value: Int32
    if data.count >= 4 {
      value = data.loadUnaligned(as: Int32.self)
    } else if data.count == 0, level == Int32(IPPROTO_IP), name == 1 {
      value = 0
    } else if data.count >= 1, level == Int32(IPPROTO_IP) {
      value = Int32(data[0])  // ip(7): the kernel takes a byte for these
    } else {
      return EINVAL
    }
    if name == 1, level == Int32(IPPROTO_IP) { value &= 0xfc }
    if name == 2, level == Int32(IPPROTO_IP), value == 0 { return EINVAL }
    guard rule.range.contains(value) else { return EINVAL }
    if name == 67, level == Int32(IPPROTO_IPV6), value > 0 { value &= 0xfc }
    let isBuffer = level == SOL_SOCKET && (name == SO_SNDBUF || name == SO_RCVBUF)
    if isBuffer {
      values[key] = min(max(value, name == SO_SNDBUF ? 2304 : 1152), 1 << 29) * 2  // socket(7): the kernel doubles the value
    } else {
      values[key] = rule.isFlag ? (value != 0 ? 1 : 0) : (value == -1 ? rule.initial : value)
    }
    return 0
  }

  /// Reads an option into `out`.
  /// - Returns: how many bytes it has, or a negated errno.
  func get(level: Int32, name: Int32, into out: UnsafeMutableRawBufferPointer) -> Int {
    if level == SOL_SOCKET, name == SO_LINGER {
      out.storeBytes(of: lingerSeconds == nil ? 0 : 1, as: Int32.self)
      out.storeBytes(of: lingerSeconds ?? 0, toByteOffset: 4, as: Int32.self)
      return 8
    }
    let key = Key(level: level, name: name)
    guard let rule = Self.rules[key] else { return -Int(ENOPROTOOPT) }
    out.storeBytes(of: values[key] ?? rule.initial, as: Int32.self)
    return 4
  }

  private func value(_ level: Int32, _ name: Int32) -> Int32 {
    let key = Key(level: level, name: name)
    return values[key] ?? Self.rules[key]?.initial ?? 0
  }

  var reuseAddress: Bool { value(SOL_SOCKET, SO_REUSEADDR) != 0 }
  var isV6Only: Bool { value(Int32(IPPROTO_IPV6), 26) != 0 }
  var noDelay: Bool { value(Int32(IPPROTO_TCP), 1) != 0 && value(Int32(IPPROTO_TCP), 3) == 0 }
  var keepalive: Bool { value(SOL_SOCKET, SO_KEEPALIVE) != 0 }
  /// Seconds, seconds, probes.
  var keepaliveTimes: (idle: UInt32, interval: UInt32, count: UInt32) {
    (UInt32(value(Int32(IPPROTO_TCP), 4)), UInt32(value(Int32(IPPROTO_TCP), 5)), UInt32(value(Int32(IPPROTO_TCP), 6)))
  }
  /// Close is to reset the connection (SO_LINGER with 0 seconds).
  var resetsOnClose: Bool { lingerSeconds == 0 }
}
