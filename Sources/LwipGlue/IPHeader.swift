internal import CLwip

/// Numbers and sums of IP headers (RFC 791, RFC 8200; IANA's protocol numbers).
enum IPHeader {
  static let hopByHop: UInt8 = 0
  static let icmp: UInt8 = 1
  static let tcp: UInt8 = 6
  static let udp: UInt8 = 17
  static let routing: UInt8 = 43
  static let fragment: UInt8 = 44
  static let icmpV6: UInt8 = 58
  static let destinationOptions: UInt8 = 60

  /// The number of what follows an IPv6 header and its extension headers, which fill `headers` exactly; nil where they do
  /// not.
  static func lastV6(_ headers: UnsafeRawBufferPointer) -> UInt8? {
    guard let (transport, offset) = transportV6(headers), offset == headers.count else { return nil }
    return transport
  }

  /// Walks an IPv6 header's extension headers: the first number that is none of them, and where what it stands for begins.
  /// Nil for a packet that ends before, and for a fragment other than the first.
  static func transportV6(_ packet: UnsafeRawBufferPointer) -> (transport: UInt8, offset: Int)? {
    guard packet.count >= 40 else { return nil }
    var next = packet[6]
    var offset = 40
    while true {
      switch next {
      case hopByHop, routing, destinationOptions:
        guard packet.count >= offset + 8 else { return nil }
        next = packet[offset]
        offset += 8 * (1 + Int(packet[offset + 1]))
      case fragment:
        guard packet.count >= offset + 8, packet[offset + 2] == 0, packet[offset + 3] & 0xf8 == 0 else { return nil }
        next = packet[offset]
        offset += 8
      default:
        return offset <= packet.count ? (next, offset) : nil
      }
    }
  }

  /// Makes an IPv6 header the one of a fragment with `count` bytes of payload, and writes the fragment header behind it.
  static func writeFragment(
    _ base: UnsafeMutableRawPointer, _ count: Int, offset: Int, isLast: Bool, transport: UInt8, identification: UInt32
  ) {
    func put(_ value: UInt16, at offset: Int) {
      base.storeBytes(of: value.bigEndian, toByteOffset: offset, as: UInt16.self)
    }
    put(UInt16(8 + count), at: 4)
    base.storeBytes(of: fragment, toByteOffset: 6, as: UInt8.self)
    put(UInt16(transport) << 8, at: 40)
    put(UInt16(offset) | (isLast ? 0 : 1), at: 42)
    base.storeBytes(of: identification.bigEndian, toByteOffset: 44, as: UInt32.self)
  }

  /// The folded sum of a header, in memory order; 0xffff where its checksum is right.
  static func sum(_ header: Slice<UnsafeRawBufferPointer>) -> UInt16 {
    let bytes = UnsafeRawBufferPointer(rebasing: header)
    return nc_sum_fold(nc_sum_add(0, false, bytes.baseAddress, bytes.count))
  }

  /// The pseudo-header's sum (RFC 768, RFC 8200 section 8.1) in memory order, as `nc_sum_add` goes on with it.
  static func pseudoSum(_ source: IPAddress, _ destination: IPAddress, _ transport: UInt8, bytes: Int) -> UInt64 {
    var sum = UInt64(UInt16(transport).bigEndian)
    // IPv6 has 32 bits for the length; it never needs more than 16 here.
    sum += UInt64(UInt16(bytes).bigEndian)
    source.withBytes { sum = nc_sum_add(sum, false, $0.baseAddress, $0.count) }
    destination.withBytes { sum = nc_sum_add(sum, false, $0.baseAddress, $0.count) }
    return sum
  }
}
