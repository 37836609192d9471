internal import Glibc

/// What an ICMP error means, in Linux's words.
struct ICMPMeaning: Equatable {
  let error: Int32
  let isFatal: Bool
  /// The next link's MTU, of "too big"; 0 otherwise.
  var mtu = 0

  /// icmp_err_convert and the switch of __udp4_lib_err and tcp_v4_err (net/ipv4/icmp.c, udp.c, tcp_ipv4.c); nil for what
  /// Linux ignores.
  static func v4(type: UInt8, code: UInt8, mtu: Int) -> ICMPMeaning? {
    switch type {
    case 3 where code == 4: ICMPMeaning(error: EMSGSIZE, isFatal: true, mtu: mtu)
    case 3: Int(code) < unreachableV4.count ? unreachableV4[Int(code)] : nil
    case 11: ICMPMeaning(error: EHOSTUNREACH, isFatal: false)
    case 12: ICMPMeaning(error: EPROTO, isFatal: true)
    default: nil
    }
  }

  /// icmpv6_err_convert (net/ipv6/icmp.c).
  static func v6(type: UInt8, code: UInt8, mtu: Int) -> ICMPMeaning? {
    switch type {
    case 1:
      Int(code) < unreachableV6.count ? unreachableV6[Int(code)] : ICMPMeaning(error: EPROTO, isFatal: true)
    case 2: ICMPMeaning(error: EMSGSIZE, isFatal: true, mtu: mtu)
    case 3: ICMPMeaning(error: EHOSTUNREACH, isFatal: false)
    case 4: ICMPMeaning(error: EPROTO, isFatal: true)
    default: nil
    }
  }

  /// By code: net, host, protocol, port, fragmentation needed, source route, net unknown, host unknown, isolated, net and
  /// host prohibited, net and host for this service, filtered, precedence twice (RFC 1122 section 3.2.2.1, RFC 1812
  /// section 5.2.7.1).
  private static let unreachableV4: [ICMPMeaning] = [
    .init(error: ENETUNREACH, isFatal: false), .init(error: EHOSTUNREACH, isFatal: false),
    .init(error: ENOPROTOOPT, isFatal: true), .init(error: ECONNREFUSED, isFatal: true),
    .init(error: EMSGSIZE, isFatal: false), .init(error: EOPNOTSUPP, isFatal: false),
    .init(error: ENETUNREACH, isFatal: true), .init(error: EHOSTDOWN, isFatal: true),
    .init(error: ENONET, isFatal: true), .init(error: ENETUNREACH, isFatal: true),
    .init(error: EHOSTUNREACH, isFatal: true), .init(error: ENETUNREACH, isFatal: false),
    .init(error: EHOSTUNREACH, isFatal: false), .init(error: EHOSTUNREACH, isFatal: true),
    .init(error: EHOSTUNREACH, isFatal: true), .init(error: EHOSTUNREACH, isFatal: true),
  ]

  /// By code: no route, prohibited, beyond scope, address, port, source policy, reject route (RFC 4443 section 3.1).
  private static let unreachableV6: [ICMPMeaning] = [
    .init(error: ENETUNREACH, isFatal: false), .init(error: EACCES, isFatal: true),
    .init(error: EHOSTUNREACH, isFatal: false), .init(error: EHOSTUNREACH, isFatal: false),
    .init(error: ECONNREFUSED, isFatal: true), .init(error: EACCES, isFatal: true), .init(error: EACCES, isFatal: true),
  ]
}

extension DatagramFailure {
  /// Whether Linux tells a socket without IP_RECVERR of such a message.
  public static func isFatal(type: UInt8, code: UInt8, isV6: Bool) -> Bool {
    let meaning = isV6 ? ICMPMeaning.v6(type: type, code: code, mtu: 0) : .v4(type: type, code: code, mtu: 0)
    return meaning?.isFatal ?? false
  }
}

/// The packet that an ICMP error quotes: what somebody says we sent. Nothing in it is believed without a look.
struct QuotedPacket {
  let source: IPAddress
  let destination: IPAddress
  let transport: UInt8
  /// What the packet's header says of its whole length.
  let packetBytes: Int
  /// From the transport header on: at least eight bytes.
  let transportBytes: UnsafeRawBufferPointer

  /// Nil where it is too short to tell ports, is of another family, or is a fragment other than the first.
  init?(_ packet: UnsafeRawBufferPointer, isV6: Bool) {
    guard packet.count >= (isV6 ? 40 : 20), let base = packet.baseAddress, packet[0] >> 4 == (isV6 ? 6 : 4) else {
      return nil
    }
    func word(_ offset: Int) -> UInt16 {
      UInt16(bigEndian: base.loadUnaligned(fromByteOffset: offset, as: UInt16.self))
    }
    let headerBytes: Int
    if isV6 {
      guard let (transport, offset) = IPHeader.transportV6(packet) else { return nil }
      self.transport = transport
      headerBytes = offset
      packetBytes = 40 + Int(word(4))
    } else {
      headerBytes = Int(packet[0] & 0xf) * 4
      guard headerBytes >= 20, word(6) & 0x1fff == 0 else { return nil }
      transport = packet[9]
      packetBytes = Int(word(2))
    }
    guard packet.count >= headerBytes + 8 else { return nil }
    source = IPAddress(bytes: base + (isV6 ? 8 : 12), isV6: isV6)
    destination = IPAddress(bytes: base + (isV6 ? 24 : 16), isV6: isV6)
    transportBytes = UnsafeRawBufferPointer(rebasing: packet[headerBytes...])
  }

  func word(_ offset: Int) -> UInt16 {
    UInt16(bigEndian: transportBytes.loadUnaligned(fromByteOffset: offset, as: UInt16.self))
  }
}
