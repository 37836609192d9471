internal import Glibc

/// The socket options the daemon keeps, by Linux's names and values (socket(7), tcp(7), ip(7), ipv6(7)).
struct SocketOptions {
  struct Key: Hashable {
    let level: Int32
    let name: Int32

    // linux/tcp.h, linux/in.h, linux/in6.h: the names that Glibc's module lacks.
    static let tcpNoDelay = Key(level: Int32(IPPROTO_TCP), name: 1)
    static let tcpCork = Key(level: Int32(IPPROTO_TCP), name: 3)
    static let tcpKeepIdle = Key(level: Int32(IPPROTO_TCP), name: 4)
    static let tcpKeepInterval = Key(level: Int32(IPPROTO_TCP), name: 5)
    static let tcpKeepCount = Key(level: Int32(IPPROTO_TCP), name: 6)
    static let tcpQuickAck = Key(level: Int32(IPPROTO_TCP), name: 12)
    static let ipTOS = Key(level: Int32(IPPROTO_IP), name: 1)
    static let ipTTL = Key(level: Int32(IPPROTO_IP), name: 2)
    static let ipv6UnicastHops = Key(level: Int32(IPPROTO_IPV6), name: 16)
    static let ipv6V6Only = Key(level: Int32(IPPROTO_IPV6), name: 26)
    static let ipv6TrafficClass = Key(level: Int32(IPPROTO_IPV6), name: 67)

    static func socket(_ name: Int32) -> Key { Key(level: SOL_SOCKET, name: name) }
  }

  /// How an option behaves: its value before it is set, and what it may be set to.
  private struct Rule {
    let initial: Int32
    var range: ClosedRange<Int32> = .min ... .max
    /// Any value counts as on, and reads back as 1.
    var isFlag = false
    /// The low bits that cannot be set: ECN is TCP's own (RFC 3168).
    var mask: Int32 = -1
    /// -1 stands for the initial value.
    var hasDefault = false
  }

  private static let flag = Rule(initial: 0, isFlag: true)

  private static let rules: [Key: Rule] = [
    .socket(SO_REUSEADDR): flag, .socket(SO_REUSEPORT): flag, .socket(SO_KEEPALIVE): flag, .socket(SO_BROADCAST): flag,
    .socket(SO_OOBINLINE): flag, .socket(SO_DONTROUTE): flag,
    .socket(SO_SNDBUF): Rule(initial: 16_384), .socket(SO_RCVBUF): Rule(initial: 131_072),
    .socket(SO_PRIORITY): Rule(initial: 0, range: 0...6),
    .tcpNoDelay: flag, .tcpCork: flag, .tcpQuickAck: Rule(initial: 1, isFlag: true),
    .tcpKeepIdle: Rule(initial: 7200, range: 1...32_767),  // seconds
    .tcpKeepInterval: Rule(initial: 75, range: 1...32_767),  // seconds
    .tcpKeepCount: Rule(initial: 9, range: 1...127),
    .ipTOS: Rule(initial: 0, mask: 0xfc), .ipTTL: Rule(initial: 64, range: -1...255, hasDefault: true),
    .ipv6V6Only: flag, .ipv6TrafficClass: Rule(initial: 0, range: -1...255, mask: 0xfc, hasDefault: true),
    .ipv6UnicastHops: Rule(initial: 64, range: -1...255, hasDefault: true),
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
    guard var value = Self.read(key, data), rule.range.contains(value), key != .ipTTL || value != 0 else {
      return EINVAL
    }
    if rule.hasDefault, value == -1 { value = rule.initial }
    switch key {
    case .socket(SO_SNDBUF): values[key] = Self.doubled(value, least: 2304)
    case .socket(SO_RCVBUF): values[key] = Self.doubled(value, least: 1152)
    default: values[key] = rule.isFlag ? (value != 0 ? 1 : 0) : value & rule.mask
    }
    return 0
  }

  /// ip(7): options of IP may be a byte; IP_TOS may be nothing at all.
  private static func read(_ key: Key, _ data: UnsafeRawBufferPointer) -> Int32? {
    if data.count >= 4 { return data.loadUnaligned(as: Int32.self) }
    guard key.level == Int32(IPPROTO_IP) else { return nil }
    return data.first.map { Int32($0) } ?? (key == .ipTOS ? 0 : nil)
  }

  /// socket(7): the kernel doubles a buffer's size, to leave room for its own book-keeping.
  private static func doubled(_ bytes: Int32, least: Int32) -> Int32 { min(max(bytes, least), 1 << 29) * 2 }

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

  private func value(_ key: Key) -> Int32 { values[key] ?? Self.rules[key]?.initial ?? 0 }

  var reuseAddress: Bool { value(.socket(SO_REUSEADDR)) != 0 }
  var reusePort: Bool { value(.socket(SO_REUSEPORT)) != 0 }
  var isV6Only: Bool { value(.ipv6V6Only) != 0 }
  var noDelay: Bool { value(.tcpNoDelay) != 0 && value(.tcpCork) == 0 }
  var keepalive: Bool { value(.socket(SO_KEEPALIVE)) != 0 }
  /// Seconds, seconds, probes.
  var keepaliveTimes: (idle: UInt32, interval: UInt32, count: UInt32) {
    (UInt32(value(.tcpKeepIdle)), UInt32(value(.tcpKeepInterval)), UInt32(value(.tcpKeepCount)))
  }
  /// Close is to reset the connection (SO_LINGER with 0 seconds).
  var resetsOnClose: Bool { lingerSeconds == 0 }
}
