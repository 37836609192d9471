import Frames
@testable import LwipGlue

/// Frames that a test makes by hand, from hosts that are not in its world.
enum RawPackets {
  static let stranger = MACAddress(bits: 0x0200_0000_00aa)

  static func big16(_ value: Int) -> [UInt8] { [UInt8(value >> 8 & 0xff), UInt8(value & 0xff)] }

  static func octets(_ address: String) -> [UInt8] { IPAddress(address)!.withBytes { Array($0) } }

  /// An IP packet of either family in an Ethernet frame; `fragment` is IPv4's field of flags and offset.
  static func packet(
    to mac: MACAddress, from source: String, to target: String, transport: UInt8, _ payload: [UInt8],
    fragment: UInt16 = 0, identification: Int = 7
  ) -> WireFrame {
    let isV6 = target.contains(":")
    let head = mac.bytes + stranger.bytes + (isV6 ? [0x86, 0xdd] : [8, 0])
    if isV6 {
      let ip = [0x60, 0, 0, 0] + big16(payload.count) + [transport, 64] + octets(source) + octets(target)
      return WireFrame(bytes: head + ip + payload, origin: 99)
    }
    let ip =
      [0x45, 0] + big16(20 + payload.count) + big16(identification) + big16(Int(fragment)) + [64, transport, 0, 0]
      + octets(source) + octets(target)
    var frame = WireFrame(bytes: head + ip + payload, origin: 99)
    frame.set16(24, ~frame.ipHeaderSum)
    return frame
  }

  /// A UDP datagram with its checksum, unless another is given.
  static func udp(
    to mac: MACAddress, from source: String, port: Int = 4000, to target: String, targetPort: Int = 5000,
    _ payload: [UInt8], checksum: UInt16? = nil, length: Int? = nil
  ) -> WireFrame {
    let header = big16(port) + big16(targetPort) + big16(length ?? 8 + payload.count) + [0, 0]
    var frame = packet(to: mac, from: source, to: target, transport: 17, header + payload)
    let sum = ~frame.fold(frame.pseudoSum + frame.sum(from: frame.tcp, to: frame.bytes.count))
    frame.set16(frame.tcp + 6, checksum ?? (sum == 0 ? 0xffff : sum))
    return frame
  }

  /// An ICMP message of the target's family with its checksum.
  static func icmp(
    to mac: MACAddress, from source: String, to target: String, type: UInt8, code: UInt8, word: UInt32 = 0,
    _ payload: [UInt8]
  ) -> WireFrame {
    let isV6 = target.contains(":")
    let header = [type, code, 0, 0] + big16(Int(word >> 16)) + big16(Int(word & 0xffff))
    var frame = packet(to: mac, from: source, to: target, transport: isV6 ? 58 : 1, header + payload)
    let sum = frame.sum(from: frame.tcp, to: frame.bytes.count) + (isV6 ? frame.pseudoSum : 0)
    frame.set16(frame.tcp + 2, ~frame.fold(sum))
    return frame
  }

  /// The fragments of a packet's payload, `size` bytes each (a multiple of eight), in order.
  static func fragments(
    to mac: MACAddress, from source: String, to target: String, transport: UInt8, _ payload: [UInt8], size: Int,
    identification: Int = 77
  ) -> [WireFrame] {
    stride(from: 0, to: payload.count, by: size).map { start in
      let end = min(start + size, payload.count)
      return fragment(
        to: mac, from: source, to: target, transport: transport, Array(payload[start..<end]), offset: start,
        isLast: end == payload.count, identification: identification)
    }
  }

  static func fragment(
    to mac: MACAddress, from source: String, to target: String, transport: UInt8, _ piece: [UInt8], offset: Int,
    isLast: Bool, identification: Int = 77
  ) -> WireFrame {
    guard target.contains(":") else {
      return packet(
        to: mac, from: source, to: target, transport: transport, piece,
        fragment: UInt16(offset / 8) | (isLast ? 0 : 0x2000), identification: identification)
    }
    let header = [transport, 0] + big16(offset | (isLast ? 0 : 1)) + [0, 0] + big16(identification)
    return packet(to: mac, from: source, to: target, transport: 44, header + piece)
  }
}

extension WireFrame {
  /// The IP packet without its frame.
  var ipPacket: [UInt8] { Array(bytes[14..<(14 + ipPacketBytes)]) }
  /// What the IP header is followed by.
  var transportBytes: [UInt8] { Array(bytes[tcp..<(14 + ipPacketBytes)]) }
}
