internal import Glibc
internal import LwipGlue

/// What the daemon asks of a socket's options: the effects that they have.
extension SocketOptions {
  func value(_ key: Key) -> Int32 {
    if !values.isEmpty, let value = values[key] { return value }
    return Self.initialValues[key, kind] ?? initialValue(key)
  }

  private func initialValue(_ key: Key) -> Int32 {
    Self.level(key.level, of: kind)?.rules[key.name]?.initial(kind) ?? 0
  }

  private static let initialValues = InitialValues { SocketOptions($1).initialValue($0) }

  /// The value that the app has set; nil where it has not.
  func explicit(_ key: Key) -> Int32? { values[key] }

  var reuseAddress: Bool { value(.socket(SO_REUSEADDR)) != 0 }
  var reusePort: Bool { value(.socket(SO_REUSEPORT)) != 0 }
  var isV6Only: Bool { values[.ipv6(26)] ?? 0 != 0 }
  var noDelay: Bool { value(.tcp(1)) != 0 && !isCorked }
  var isCorked: Bool { value(.tcp(3)) != 0 }
  /// TCP_DEFER_ACCEPT; 0: off.
  var deferAcceptSeconds: Int32 { value(.tcp(9)) }
  var keepalive: Bool { value(.socket(SO_KEEPALIVE)) != 0 }
  /// Seconds, seconds, probes.
  var keepaliveTimes: (idle: UInt32, interval: UInt32, count: UInt32) {
    (UInt32(value(.tcp(4))), UInt32(value(.tcp(5))), UInt32(value(.tcp(6))))
  }
  /// Close is to reset the connection (SO_LINGER with 0 seconds).
  var resetsOnClose: Bool { lingers && lingerSeconds == 0 }
  /// IP_FREEBIND, IPV6_FREEBIND: bind() takes addresses that the network does not have.
  var mayBindAnywhere: Bool { value(.ip(15)) != 0 || kind.isV6 && value(.ipv6(78)) != 0 }

  /// What the app asked for by SO_RCVBUF; nil: it did not. The option's value is twice that.
  var receiveBufferBytes: Int32? { explicit(.socket(SO_RCVBUF)).map { $0 / 2 } }
  /// The same of SO_SNDBUF.
  var sendBufferBytes: Int32? { explicit(.socket(SO_SNDBUF)).map { $0 / 2 } }

  /// TCP_NOTSENT_LOWAT in bytes; nil for no limit.
  var unsentLimit: Int? {
    let value = UInt32(bitPattern: value(.tcp(25)))
    return value == 0 || value > UInt32(Int32.max) ? nil : Int(value)
  }

  /// What a connected app may have written that the daemon has not read: its end's send buffer. Of a size that the app
  /// has set, one half is for the pair, the other for the stack.
  var pairSendBufferBytes: Int32 {
    let asked = sendBufferBytes.map { $0 / 2 } ?? Pair.connectedSendBufferBytes
    return min(asked, unsentLimit.map { Int32(clamping: max($0, 2304)) } ?? .max)
  }

  /// What the stack needs to know.
  /// - Parameter isV6: the peer is spoken to over IPv6; IPv4 on an IPv6 socket follows the options of IPv4.
  func settings(towardsV6 isV6: Bool) -> ConnectionOptions {
    var settings = ConnectionOptions()
    settings.hopLimit = UInt8(clamping: value(isV6 ? .ipv6(16) : .ip(2)))
    settings.trafficClass = UInt8(clamping: value(isV6 ? .ipv6(67) : .ip(1)))
    settings.leastHopLimit = UInt8(clamping: value(isV6 ? .ipv6(73) : .ip(21)))
    if let limit = explicit(.tcp(2)), limit > 0 { settings.segmentLimit = Int(limit) }
    let clamp = explicit(.tcp(10)).flatMap { $0 > 0 ? $0 : nil }
    settings.receiveLimitBytes = [receiveBufferBytes, clamp].compactMap { $0.map { Int($0) } }.min()
    settings.sendLimit = sendBufferBytes.map { Int($0 / 2) }
    settings.unsentLimit = unsentLimit
    settings.userTimeoutMilliseconds = UInt32(bitPattern: value(.tcp(18)))
    settings.synRetries = UInt8(clamping: value(.tcp(7)))
    settings.isCorked = isCorked
    return settings
  }
}
