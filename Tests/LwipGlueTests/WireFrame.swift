import Frames

/// One frame as a protocol analyser reads it, or as a test makes it.
struct WireFrame {
  var bytes: [UInt8]
  var offload = OffloadHeader()
  /// Which port sent it.
  var origin = 0
  /// When it was sent, in nanoseconds of the test's clock.
  var time: UInt64 = 0

  func u8(_ offset: Int) -> UInt8 { offset < bytes.count ? bytes[offset] : 0 }
  func u16(_ offset: Int) -> UInt16 { UInt16(u8(offset)) << 8 | UInt16(u8(offset + 1)) }
  func u32(_ offset: Int) -> UInt32 { UInt32(u16(offset)) << 16 | UInt32(u16(offset + 2)) }
  mutating func set16(_ offset: Int, _ value: UInt16) {
    bytes[offset] = UInt8(value >> 8)
    bytes[offset + 1] = UInt8(truncatingIfNeeded: value)
  }
  mutating func set32(_ offset: Int, _ value: UInt32) {
    set16(offset, UInt16(value >> 16))
    set16(offset + 2, UInt16(truncatingIfNeeded: value))
  }

  var destination: MACAddress { bytes.withUnsafeBytes { MACAddress(reading: $0.baseAddress!) } }
  var source: MACAddress { bytes.withUnsafeBytes { MACAddress(reading: $0.baseAddress! + 6) } }
  var etherType: UInt16 { u16(12) }
  var isARP: Bool { etherType == 0x0806 }
  var isV4: Bool { etherType == 0x0800 }
  var isV6: Bool { etherType == 0x86dd }
  var ipHeaderBytes: Int { isV6 ? 40 : Int(u8(14) & 0xf) * 4 }
  var ipPacketBytes: Int { isV6 ? 40 + Int(u16(18)) : Int(u16(16)) }
  var transport: UInt8 { isV6 ? u8(20) : u8(23) }
  var isTCP: Bool { (isV4 || isV6) && transport == 6 }
  var tcp: Int { 14 + ipHeaderBytes }
  var sourcePort: UInt16 { u16(tcp) }
  var destinationPort: UInt16 { u16(tcp + 2) }
  var sequence: UInt32 { u32(tcp + 4) }
  var acknowledged: UInt32 { u32(tcp + 8) }
  var tcpHeaderBytes: Int { Int(u8(tcp + 12) >> 4) * 4 }
  var flags: TCPFlags { TCPFlags(rawValue: u8(tcp + 13)) }
  var window: UInt16 { u16(tcp + 14) }
  var payloadBytes: Int { isTCP ? 14 + ipPacketBytes - tcp - tcpHeaderBytes : 0 }

  /// The MSS option of a SYN (RFC 9293 section 3.2).
  var announcedMSS: Int? {
    var offset = tcp + 20
    while offset < tcp + tcpHeaderBytes {
      switch u8(offset) {
      case 0: return nil
      case 1: offset += 1
      case 2: return Int(u16(offset + 2))
      default: offset += max(2, Int(u8(offset + 1)))
      }
    }
    return nil
  }

  /// The sum over the pseudo-header, TCP header and payload; 0xffff for a frame whose checksum is right.
  var tcpSum: UInt16 { fold(pseudoSum + sum(from: tcp, to: 14 + ipPacketBytes)) }
  var ipHeaderSum: UInt16 { fold(sum(from: 14, to: tcp)) }

  var pseudoSum: UInt64 {
    let addresses = isV6 ? sum(from: 22, to: 54) : sum(from: 26, to: 34)
    return addresses + UInt64(transport) + UInt64(ipPacketBytes - ipHeaderBytes)
  }

  func fold(_ sum: UInt64) -> UInt16 {
    var sum = sum
    while sum >> 16 != 0 { sum = sum & 0xffff + sum >> 16 }
    return UInt16(sum)
  }

  /// The sum of big-endian 16-bit words (RFC 1071); computed in native words of 32 bits, whose order does not matter.
  func sum(from start: Int, to end: Int) -> UInt64 {
    bytes.withUnsafeBytes { memory in
      let end = min(end, memory.count)
      var native: UInt64 = 0
      var offset = start
      while offset + 4 <= end {
        native += UInt64(memory.loadUnaligned(fromByteOffset: offset, as: UInt32.self))
        offset += 4
      }
      var shift: UInt64 = 0
      while offset < end {
        native += UInt64(memory[offset]) << shift
        shift += 8
        offset += 1
      }
      return UInt64(fold(native).byteSwapped)
    }
  }

  // MARK: What a network card does

  /// The frame with its checksum finished, if the offload header asks for that.
  func finished() -> WireFrame {
    guard offload.flags & OffloadHeader.needsChecksum != 0 else { return self }
    var frame = self
    let start = Int(offload.checksumStart)
    let total = ~fold(sum(from: start, to: bytes.count))
    frame.set16(start + Int(offload.checksumOffset), total)
    frame.offload = OffloadHeader()
    return frame
  }

  /// What leaves a card that segments: each with headers of its own and a whole checksum.
  func segmented() -> [WireFrame] {
    guard offload.segmentation != 0 else { return [finished()] }
    let headers = Int(offload.headerBytes)
    let size = Int(offload.segmentBytes)
    var result: [WireFrame] = []
    var offset = headers
    while offset < bytes.count {
      let end = min(offset + size, bytes.count)
      var frame = WireFrame(bytes: Array(bytes[..<headers] + bytes[offset..<end]), origin: origin)
      if isV6 {
        frame.set16(18, UInt16(frame.bytes.count - 54))
      } else {
        frame.set16(16, UInt16(frame.bytes.count - 14))
        frame.set16(18, u16(18) &+ UInt16(result.count))
        frame.set16(24, 0)
        frame.set16(24, ~frame.ipHeaderSum)
      }
      frame.set32(tcp + 4, sequence &+ UInt32(offset - headers))
      if end < bytes.count { frame.bytes[tcp + 13] &= ~(TCPFlags.fin.rawValue | TCPFlags.push.rawValue) }
      frame.set16(tcp + 16, 0)
      frame.set16(tcp + 16, ~frame.tcpSum)
      result.append(frame)
      offset = end
    }
    return result
  }
}

struct TCPFlags: OptionSet, CustomStringConvertible {
  let rawValue: UInt8
  static let fin = TCPFlags(rawValue: 1)
  static let syn = TCPFlags(rawValue: 2)
  static let reset = TCPFlags(rawValue: 4)
  static let push = TCPFlags(rawValue: 8)
  static let ack = TCPFlags(rawValue: 16)
  var description: String {
    let names: [(TCPFlags, String)] = [(.syn, "SYN"), (.fin, "FIN"), (.reset, "RST"), (.push, "PSH"), (.ack, "ACK")]
    return names.filter { contains($0.0) }.map(\.1).joined(separator: "|")
  }
}
