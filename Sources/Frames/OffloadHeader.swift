/// What a frame's checksum and segmentation still need, in the layout of `struct virtio_net_hdr_v1` (12 bytes, host byte
/// order as TUN uses it by default; virtio 1.2 section 5.1.6): a TAP with IFF_VNET_HDR reads and writes it as it stands.
public struct OffloadHeader: Sendable, Equatable {
  public var flags: UInt8 = 0
  public var segmentation: UInt8 = 0
  /// Bytes of the headers that each segment repeats (Ethernet, IP, TCP).
  public var headerBytes: UInt16 = 0
  /// Payload bytes of each segment on the wire, where `segmentation` is not none.
  public var segmentBytes: UInt16 = 0
  /// Where the checksum starts, from the frame's first byte.
  public var checksumStart: UInt16 = 0
  /// Where the sum belongs, from `checksumStart`.
  public var checksumOffset: UInt16 = 0
  public var bufferCount: UInt16 = 0

  public init() {}

  /// The checksum field holds the pseudo-header's sum; whoever sends the frame on a wire finishes it.
  public static let needsChecksum: UInt8 = 1  // VIRTIO_NET_HDR_F_NEEDS_CSUM
  /// The checksum was verified by the link.
  public static let checksumValid: UInt8 = 2  // VIRTIO_NET_HDR_F_DATA_VALID
  public static let segmentationTCPv4: UInt8 = 1  // VIRTIO_NET_HDR_GSO_TCPV4
  public static let segmentationTCPv6: UInt8 = 4  // VIRTIO_NET_HDR_GSO_TCPV6

  /// The payload never crossed a wire, or was checked there: no need to verify it again.
  public var isTrusted: Bool { flags & (Self.needsChecksum | Self.checksumValid) != 0 }
}

/// An Ethernet hardware address (IEEE 802), six bytes in wire order in the low 48 bits.
public struct MACAddress: Hashable, Sendable, CustomStringConvertible {
  public let bits: UInt64

  public init(bits: UInt64) { self.bits = bits & 0xffff_ffff_ffff }

  /// Reads six bytes.
  public init(reading bytes: UnsafeRawPointer) {
    var bits: UInt64 = 0
    for index in 0..<6 { bits = bits << 8 | UInt64(bytes.load(fromByteOffset: index, as: UInt8.self)) }
    self.bits = bits
  }

  /// Six pairs of hexadecimal digits with colons; nil for anything else.
  public init?(_ text: some StringProtocol) {
    let parts = text.split(separator: ":", omittingEmptySubsequences: false)
    guard parts.count == 6 else { return nil }
    var bits: UInt64 = 0
    for part in parts {
      guard part.count == 2, let byte = UInt8(part, radix: 16), part.allSatisfy(\.isHexDigit) else { return nil }
      bits = bits << 8 | UInt64(byte)
    }
    self.bits = bits
  }

  public var bytes: [UInt8] { (0..<6).map { UInt8(truncatingIfNeeded: bits >> (40 - 8 * UInt64($0))) } }
  /// Group addresses, broadcast among them, have the lowest bit of the first byte set.
  public var isGroup: Bool { bits >> 40 & 1 != 0 }

  public var description: String {
    bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined(separator: ":")
  }
}
