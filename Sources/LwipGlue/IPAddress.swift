internal import CLwip
internal import Glibc

/// An IPv4 or IPv6 address, kept by value.
public struct IPAddress: Hashable, Sendable, CustomStringConvertible {
  public let isV6: Bool
  /// The first eight bytes as a big-endian number; IPv4 uses its high half.
  public let high: UInt64
  public let low: UInt64

  private init(isV6: Bool, high: UInt64, low: UInt64) {
    self.isV6 = isV6
    self.high = high
    self.low = low
  }

  public static let anyV4 = IPAddress(isV6: false, high: 0, low: 0)
  public static let anyV6 = IPAddress(isV6: true, high: 0, low: 0)
  /// 127.0.0.1
  public static let loopbackV4 = IPAddress(isV6: false, high: 0x7f00_0001 << 32, low: 0)
  /// ::1
  public static let loopbackV6 = IPAddress(isV6: true, high: 0, low: 1)

  /// Reads 4 or 16 bytes in network order.
  public init(bytes: UnsafeRawPointer, isV6: Bool) {
    self.isV6 = isV6
    if isV6 {
      high = UInt64(bigEndian: bytes.loadUnaligned(as: UInt64.self))
      low = UInt64(bigEndian: bytes.loadUnaligned(fromByteOffset: 8, as: UInt64.self))
    } else {
      high = UInt64(UInt32(bigEndian: bytes.loadUnaligned(as: UInt32.self))) << 32
      low = 0
    }
  }

  /// Reads 4 or 16 bytes in network order; nil of any other number.
  public init?(network bytes: [UInt8]) {
    guard bytes.count == 4 || bytes.count == 16 else { return nil }
    self = bytes.withUnsafeBytes { IPAddress(bytes: $0.baseAddress!, isV6: bytes.count == 16) }
  }

  /// Reads an address as text (inet_pton(3)); nil where it is none.
  public init?(_ text: String) {
    var bytes: (UInt64, UInt64) = (0, 0)
    let isV6 = text.contains(":")
    guard inet_pton(isV6 ? AF_INET6 : AF_INET, text, &bytes) == 1 else { return nil }
    self = withUnsafeBytes(of: &bytes) { IPAddress(bytes: $0.baseAddress!, isV6: isV6) }
  }

  init(_ ip: UnsafePointer<ip_addr_t>) {
    var bytes: (UInt64, UInt64) = (0, 0)
    let isV6 = nc_ip_is_v6(ip)
    self = withUnsafeMutableBytes(of: &bytes) { buffer in
      nc_ip_bytes(ip, buffer.baseAddress!.assumingMemoryBound(to: UInt8.self))
      return IPAddress(bytes: buffer.baseAddress!, isV6: isV6)
    }
  }

  /// Runs `body` with the 4 or 16 bytes in network order.
  public func withBytes<Result>(_ body: (UnsafeRawBufferPointer) -> Result) -> Result {
    var bytes = (high.bigEndian, low.bigEndian)
    return withUnsafeBytes(of: &bytes) { body(UnsafeRawBufferPointer(rebasing: $0.prefix(isV6 ? 16 : 4))) }
  }

  func lwip(zone: UInt8 = 0) -> ip_addr_t {
    withBytes { nc_ip_from_bytes($0.baseAddress!.assumingMemoryBound(to: UInt8.self), isV6, zone) }
  }

  /// An IPv4 address as lwIP stores it: 32 bits in network order.
  var v4Network: UInt32 { UInt32(truncatingIfNeeded: high >> 32).bigEndian }

  public var isAny: Bool { high == 0 && low == 0 }
  public var isLoopback: Bool { isV6 ? self == .loopbackV6 : high >> 56 == 127 }
  public var isMulticast: Bool { isV6 ? high >> 56 == 0xff : high >> 60 == 0xe }
  public var isLinkLocal: Bool { isV6 ? high >> 54 == 0x3fa : high >> 48 == 0xa9fe }
  /// IPv6, and means something on one link only: unicast or multicast of link-local or interface-local scope (RFC 4007).
  public var needsScope: Bool {
    guard isV6 else { return false }
    return isLinkLocal || isMulticast && (1...2).contains(high >> 48 & 0xf)
  }
  /// 255.255.255.255
  public var isLimitedBroadcast: Bool { !isV6 && high >> 32 == 0xffff_ffff }
  public var bits: Int { isV6 ? 128 : 32 }

  /// The IPv4 address inside ::ffff:0:0/96 (RFC 4291 section 2.5.5.2), if it is such a one.
  public var mappedV4: IPAddress? {
    guard isV6, high == 0, low >> 32 == 0xffff else { return nil }
    return IPAddress(isV6: false, high: low << 32, low: 0)
  }

  /// Whether the first `prefixBits` bits equal those of `other`, which must be of the same family.
  public func matches(_ other: IPAddress, prefixBits: Int) -> Bool {
    guard isV6 == other.isV6 else { return false }
    let mask = Self.mask(prefixBits)
    return (high ^ other.high) & mask.high == 0 && (low ^ other.low) & mask.low == 0
  }

  /// With the bits behind the first `prefixBits` cleared.
  func masked(prefixBits: Int) -> IPAddress {
    let mask = Self.mask(prefixBits)
    return IPAddress(isV6: isV6, high: high & mask.high, low: low & mask.low)
  }

  private static func mask(_ bits: Int) -> (high: UInt64, low: UInt64) {
    func ones(_ count: Int) -> UInt64 { count <= 0 ? 0 : ~UInt64(0) << UInt64(64 - min(count, 64)) }
    return (ones(bits), ones(bits - 64))
  }

  public var description: String {
    var text = [CChar](repeating: 0, count: Int(INET6_ADDRSTRLEN))
    return withBytes { bytes in
      _ = inet_ntop(isV6 ? AF_INET6 : AF_INET, bytes.baseAddress, &text, socklen_t(text.count))
      return String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
  }
}

/// An address with the length of its network's prefix, as CIDR writes it (RFC 4632).
public struct InterfaceAddress: Hashable, Sendable, CustomStringConvertible {
  public let address: IPAddress
  public let prefixBits: Int

  public init(address: IPAddress, prefixBits: Int) {
    precondition(prefixBits >= 0 && prefixBits <= address.bits)
    self.address = address
    self.prefixBits = prefixBits
  }

  /// Whether `other` lies on the same subnet.
  public func contains(_ other: IPAddress) -> Bool { address.matches(other, prefixBits: prefixBits) }

  /// The address with the bits behind the prefix cleared.
  public var network: IPAddress { address.masked(prefixBits: prefixBits) }

  /// The subnet's directed broadcast address; nil for IPv6 and for prefixes longer than 30 bits (RFC 3021).
  public var broadcast: IPAddress? {
    guard !address.isV6, prefixBits <= 30 else { return nil }
    let host = UInt32.max >> UInt32(prefixBits)
    var network = (UInt32(truncatingIfNeeded: address.high >> 32) | host).bigEndian
    return withUnsafeBytes(of: &network) { IPAddress(bytes: $0.baseAddress!, isV6: false) }
  }

  public var description: String { "\(address)/\(prefixBits)" }
}

/// An address and a port (host byte order).
public struct Endpoint: Hashable, Sendable, CustomStringConvertible {
  public var address: IPAddress
  public var port: UInt16

  public init(address: IPAddress, port: UInt16) {
    self.address = address
    self.port = port
  }

  public var description: String { address.isV6 ? "[\(address)]:\(port)" : "\(address):\(port)" }
}
