internal import Glibc
internal import UringLoop

/// The socket options the daemon keeps, by Linux's names and values (socket(7), tcp(7), ip(7), ipv6(7)).
///
/// An option is a rule of its level's table (`SocketOptions+Socket.swift` and its siblings); those whose value is no int,
/// or that touch others, are in `SocketOptions+Structures.swift`. What has an effect is asked for by the accessors at the
/// end, and applied by the daemon.
struct SocketOptions {
  struct Key: Hashable {
    let level: Int32
    let name: Int32

    static func socket(_ name: Int32) -> Key { Key(level: SOL_SOCKET, name: name) }
    static func tcp(_ name: Int32) -> Key { Key(level: Int32(IPPROTO_TCP), name: name) }
    static func ip(_ name: Int32) -> Key { Key(level: Int32(IPPROTO_IP), name: name) }
    static func ipv6(_ name: Int32) -> Key { Key(level: Int32(IPPROTO_IPV6), name: name) }
  }

  let kind: SocketKind
  var values: [Key: Int32] = [:]
  /// SO_LINGER: whether it is on, and the seconds; these stay when it is turned off.
  var lingers = false
  var lingerSeconds: Int32 = 0
  /// SO_TIMESTAMP, SO_TIMESTAMPNS or one of their twins of 64 bits: at most one is on. 0: none.
  var timestampOption: Int32 = 0
  /// SO_BINDTODEVICE and SO_BINDTOIFINDEX; 0: none.
  var boundInterface: Int32 = 0
  /// SO_MAX_PACING_RATE, bytes a second.
  var pacingRate = UInt64.max
  /// SO_TXTIME: clock and flags.
  var transmitTime: (clock: Int32, flags: UInt32) = (0, 0)

  /// TCP_CONGESTION was set to "reno", which reads back, and has no effect: the stack does CUBIC.
  var asksForReno = false

  init(_ kind: SocketKind) { self.kind = kind }

  private static let levels: [Int32: OptionLevel] = [
    SOL_SOCKET: socketLevel, Int32(IPPROTO_IP): ipLevel, Int32(IPPROTO_IPV6): ipv6Level,
  ]

  /// The options of `level` that a socket of this kind has. (136 is IPPROTO_UDPLITE: the kernel looks at neither's name.)
  static func level(_ level: Int32, of kind: SocketKind) -> OptionLevel? {
    switch level {
    case Int32(IPPROTO_TCP): kind.transport == .stream ? tcpLevel : nil
    case Int32(IPPROTO_UDP), 136: kind.transport == .datagram ? udpLevel : nil
    case Int32(IPPROTO_IPV6): kind.isV6 ? ipv6Level : nil
    default: levels[level]
    }
  }

  /// What a connection has of its listener's options: all but SO_PRIORITY (Linux's sk_clone_lock).
  var inherited: SocketOptions {
    var copy = self
    copy.values[.socket(SO_PRIORITY)] = nil
    return copy
  }

  // MARK: Setting

  /// Sets an option.
  /// - Parameters:
  ///   - data: what the app gave; nil for a null pointer.
  ///   - length: what the app said that it gives; nil: all of `data`.
  /// - Returns: 0, or the positive errno that Linux gives.
  mutating func set(
    level: Int32, name: Int32, data: UnsafeRawBufferPointer?, length: Int? = nil,
    context: OptionContext = OptionContext()
  ) -> Int32 {
    let length = length ?? data?.count ?? 0
    var context = context
    context.kind = kind
    guard let rules = Self.level(level, of: kind) else { return ENOPROTOOPT }
    if let status = setStructure(level: level, name: name, data: data, length: length, context: context) {
      return status
    }
    if rules.checksLengthFirst {
      if length < 4 { return EINVAL }
      if data == nil { return EFAULT }
    }
    guard let rule = rules.rules[name] else { return ENOPROTOOPT }
    let short = rule.short ?? rules.short
    if data == nil, !rules.nullIsZero, short != .unseen { return EFAULT }
    guard rule.transports.contains(kind.transport) else { return rule.elsewhere.set }
    guard let value = Self.read(data, length: length, short: short) else { return EINVAL }
    let key = Key(level: level, name: name)
    context.length = length
    context.current = values[key] ?? rule.initial(kind)
    switch rule.set(value, context) {
    case .keep(let value):
      values[key] = value
      noteSideEffects(key, value)
      return 0
    case .ignore: return 0
    case .refuse(let code): return code
    }
  }

  /// The int that was given; nil for EINVAL.
  private static func read(_ data: UnsafeRawBufferPointer?, length: Int, short: OptionRule.Short) -> Int32? {
    let whole = length >= 4 ? data.map { $0.loadUnaligned(as: Int32.self) } ?? 0 : nil
    switch short {
    case .refused: return whole
    case .exact: return length == 4 ? whole : nil
    case .zero, .unseen: return whole ?? 0
    case .byte: return whole ?? data?.first.map { Int32($0) } ?? 0
    case .someByte: return whole ?? data?.first.map { Int32($0) }
    }
  }

  /// What else setting an option changes.
  private mutating func noteSideEffects(_ key: Key, _ value: Int32) {
    switch key {
    case .socket(SO_SNDBUF): lockBuffer(1)
    case .socket(SO_RCVBUF): lockBuffer(2)
    case .ip(1):  // IP_TOS sets SO_PRIORITY as well (rt_tos2priority)
      let priorities: [Int32] = [0, 0, 0, 0, 2, 2, 2, 2, 6, 6, 6, 6, 4, 4, 4, 4]
      values[.socket(SO_PRIORITY)] = priorities[Int(value >> 1 & 15)]
    default: break
    }
  }

  /// SO_BUF_LOCK tells which sizes the app has set.
  private mutating func lockBuffer(_ bit: Int32) {
    let key = Key.socket(72)
    values[key] = (values[key] ?? 0) | bit
  }

  // MARK: Reading

  /// Reads an option into `out`.
  /// - Parameter capacity: the room that the app has, which may be more than `out`; nil: `out`.
  /// - Returns: how many bytes it has, or a negated errno.
  func get(
    level: Int32, name: Int32, into out: UnsafeMutableRawBufferPointer, capacity: Int? = nil,
    context: OptionContext = OptionContext()
  ) -> Int {
    let capacity = capacity ?? out.count
    var context = context
    context.kind = kind
    guard let rules = Self.level(level, of: kind) else { return -Int(kind.isV6 ? ENOPROTOOPT : EOPNOTSUPP) }
    let room = min(capacity, out.count)
    if let count = getStructure(
      level: level, name: name, into: UnsafeMutableRawBufferPointer(rebasing: out.prefix(max(room, 0))),
      capacity: capacity, context: context)
    {
      return count
    }
    guard let rule = rules.rules[name] else { return -Int(ENOPROTOOPT) }
    let isMine = rule.transports.contains(kind.transport)
    if isMine, capacity < rule.leastRoom { return -Int(EINVAL) }
    switch isMine ? rule.reading : rule.elsewhere.reading {
    case .error(let code): return -Int(code)
    case .nothing: return 0
    case .value: break
    }
    var value = values[Key(level: level, name: name)] ?? rule.initial(kind)
    if let known = reading(level: level, name: name, kept: value, context: context) {
      guard known.error == 0 else { return -Int(known.error) }
      value = known.value
    }
    if rules.readsAsByte, name != 32, room > 0, room < 4, (0...255).contains(value) {
      out[0] = UInt8(value)
      return 1
    }
    return withUnsafeBytes(of: &value) { Self.copy($0, to: out, room: room) }
  }

  static func copy(_ bytes: UnsafeRawBufferPointer, to out: UnsafeMutableRawBufferPointer, room: Int) -> Int {
    let count = min(bytes.count, room)
    out.copyMemory(from: UnsafeRawBufferPointer(rebasing: bytes.prefix(count)))
    return count
  }

  /// What depends on more than what was set; nil: the kept value it is.
  private func reading(
    level: Int32, name: Int32, kept: Int32, context: OptionContext
  ) -> (value: Int32, error: Int32)? {
    switch Key(level: level, name: name) {
    case .tcp(2): (context.segmentBytes ?? (kept == 0 ? 536 : kept), 0)  // TCP_MSS_DEFAULT
    case .tcp(10): kept == 0 ? context.windowLimit.map { ($0, 0) } : nil
    case .tcp(24): (Int32(truncatingIfNeeded: monotonicNanoseconds() / 1_000_000), 0)
    case .ip(14), .ipv6(24): context.pathMTU.map { ($0, 0) } ?? (0, ENOTCONN)
    case .ip(52): (context.localPort, 0)
    case .ipv6(1):
      kind.transport == .ping ? (0, ENOPROTOOPT) : context.phase == .connected ? (AF_INET6, 0) : (0, ENOTCONN)
    case .ipv6(26): context.isBoundToV6Address ? (1, 0) : nil
    default: nil
    }
  }
}
