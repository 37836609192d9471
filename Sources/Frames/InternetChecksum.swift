/// The Internet checksum (RFC 1071) over bytes as they lie in a packet.
public enum InternetChecksum {
  /// The folded sum of `bytes` and what was summed before, not inverted, in host byte order. Where a packet's checksum is
  /// among the bytes and right, it is 0xffff.
  /// - Parameter bytes: what is odd in length ends as if a zero followed.
  public static func sum(_ bytes: UnsafeRawBufferPointer, after former: UInt16 = 0) -> UInt16 {
    // Sums of 32 bits, in memory order: byte order and width do not matter to a sum whose carries come back (section 2).
    var sum: UInt64 = 0
    var offset = 0
    while offset + 4 <= bytes.count {
      sum &+= UInt64(bytes.loadUnaligned(fromByteOffset: offset, as: UInt32.self))
      offset += 4
    }
    if offset + 2 <= bytes.count {
      sum &+= UInt64(bytes.loadUnaligned(fromByteOffset: offset, as: UInt16.self))
      offset += 2
    }
    if offset < bytes.count { sum &+= UInt64(UInt16(bytes[offset]).littleEndian) }
    return fold(UInt64(UInt16(bigEndian: fold(sum))) + UInt64(former))
  }

  /// The folded sum over the pseudo-header (RFC 9293 section 3.1, RFC 8200 section 8.1), not inverted, in host byte order.
  /// - Parameters:
  ///   - ip: an IPv4 or IPv6 header.
  ///   - transport: the number of what is summed.
  ///   - bytes: its length, its header included.
  public static func pseudoHeader(_ ip: UnsafeRawPointer, isV6: Bool, transport: UInt8, bytes: Int) -> UInt16 {
    let addresses = isV6 ? UnsafeRawBufferPointer(start: ip + 8, count: 32) : .init(start: ip + 12, count: 8)
    return sum(addresses, after: fold(UInt64(transport) + UInt64(bytes)))
  }

  private static func fold(_ sum: UInt64) -> UInt16 {
    var sum = sum
    while sum >> 16 != 0 { sum = sum & 0xffff + sum >> 16 }
    return UInt16(sum)
  }
}
