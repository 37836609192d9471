import Frames

/// A TCP packet in plain bytes, and what a wire would make of it: written without the sources under test, to check them.
struct TCPPacket {
  var isV6 = false
  var sequence: UInt32 = 0xffff_fff0
  var identification: UInt16 = 0xfffe
  /// FIN, PSH, ACK and CWR.
  var flags: UInt8 = 0x99
  /// A timestamp option with its padding, so that headers have no usual length.
  var options: [UInt8] = [1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2]
  /// Of IPv6: a destination options header in front of TCP's.
  var extensionHeader = false
  var payload: [UInt8]

  var ipBytes: Int { isV6 ? (extensionHeader ? 48 : 40) : 20 }
  var tcpBytes: Int { 20 + options.count }

  /// Ethernet, IP and TCP. The checksum is complete, or the pseudo-header's sum alone.
  func bytes(completeChecksum: Bool = true) -> [UInt8] {
    var ip: [UInt8]
    let transportBytes = tcpBytes + payload.count
    if isV6 {
      let payloadBytes = transportBytes + ipBytes - 40
      ip = [0x60, 0, 0, 0] + word(payloadBytes) + [extensionHeader ? 60 : 6, 64]
      ip += (0..<16).map { UInt8($0) } + (0..<16).map { UInt8(0x40 + $0) }
      if extensionHeader { ip += [6, 0, 1, 4, 0, 0, 0, 0] }
    } else {
      ip = [0x45, 0] + word(20 + transportBytes) + word(Int(identification)) + [0x40, 0, 64, 6, 0, 0]
      ip += [10, 1, 2, 3, 10, 4, 5, 6]
      (ip[10], ip[11]) = (UInt8(~naiveSum(ip) >> 8), UInt8(truncatingIfNeeded: ~naiveSum(ip)))
    }
    var tcp: [UInt8] = word(7000) + word(8000) + word(Int(sequence >> 16)) + word(Int(sequence & 0xffff))
    tcp += word(1) + word(2) + [UInt8(tcpBytes / 4) << 4, flags] + word(4096) + [0, 0, 0, 0] + options
    let pseudo = Array(isV6 ? ip[8..<40] : ip[12..<20]) + word(6) + word(transportBytes)
    let sum = completeChecksum ? ~naiveSum(pseudo + tcp + payload) : naiveSum(pseudo)
    (tcp[16], tcp[17]) = (UInt8(sum >> 8), UInt8(truncatingIfNeeded: sum))
    return MACAddress.host(1).bytes + MACAddress.host(2).bytes + (isV6 ? [0x86, 0xdd] : [8, 0]) + ip + tcp + payload
  }

  /// What a frame of it leaves to the link.
  func offload(segmentBytes: Int) -> OffloadHeader {
    var offload = OffloadHeader()
    offload.flags = OffloadHeader.needsChecksum
    offload.checksumStart = UInt16(14 + ipBytes)
    offload.checksumOffset = 16
    guard payload.count > segmentBytes else { return offload }
    offload.segmentation = isV6 ? OffloadHeader.segmentationTCPv6 : OffloadHeader.segmentationTCPv4
    offload.segmentBytes = UInt16(segmentBytes)
    offload.headerBytes = UInt16(14 + ipBytes + tcpBytes)
    return offload
  }

  /// The packets on the wire, as RFC 9293 and the kernel's segmentation have them.
  func segments(of segmentBytes: Int) -> [[UInt8]] {
    let starts = Array(stride(from: 0, to: payload.count, by: segmentBytes))
    return starts.map { start in
      var segment = self
      segment.payload = Array(payload[start..<min(payload.count, start + segmentBytes)])
      segment.sequence = sequence &+ UInt32(start)
      segment.identification = identification &+ UInt16(start / segmentBytes)
      if start > 0 { segment.flags &= ~0x80 }
      if start != starts.last { segment.flags &= ~0x09 }
      return segment.bytes()
    }
  }

  /// Reads back what `bytes` wrote.
  init(reading bytes: [UInt8], extensionHeader: Bool) {
    isV6 = bytes[12] == 0x86
    self.extensionHeader = extensionHeader
    payload = []
    let tcp = 14 + ipBytes
    func number(_ offset: Int) -> UInt32 { UInt32(bytes[offset]) << 8 | UInt32(bytes[offset + 1]) }
    sequence = number(tcp + 4) << 16 | number(tcp + 6)
    identification = isV6 ? 0 : UInt16(number(18))
    flags = bytes[tcp + 13]
    let headerBytes = tcp + Int(bytes[tcp + 12] >> 4) * 4
    options = Array(bytes[tcp + 20..<headerBytes])
    payload = Array(bytes[headerBytes...])
  }

  init(isV6: Bool = false, payload: [UInt8]) {
    self.isV6 = isV6
    self.payload = payload
  }
}

private func word(_ value: Int) -> [UInt8] {
  [UInt8(truncatingIfNeeded: value >> 8), UInt8(truncatingIfNeeded: value)]
}

/// The Internet checksum's sum as RFC 1071 defines it, word by word.
func naiveSum(_ bytes: [UInt8]) -> UInt16 {
  var sum = 0
  for index in stride(from: 0, to: bytes.count, by: 2) {
    sum += Int(bytes[index]) << 8 | (index + 1 < bytes.count ? Int(bytes[index + 1]) : 0)
    if sum > 0xffff { sum -= 0xffff }
  }
  return UInt16(sum)
}

/// Whether a receiver that verifies all checksums of a TCP packet takes it.
func checksumsAreRight(_ packet: [UInt8]) -> Bool {
  let isV6 = packet[12] == 0x86 && packet[13] == 0xdd
  let ipBytes: Int
  let pseudo: [UInt8]
  if isV6 {
    guard packet.count >= 54, packet[20] == 6 else { return false }
    guard Int(packet[18]) << 8 | Int(packet[19]) == packet.count - 54 else { return false }
    ipBytes = 40
    pseudo = Array(packet[22..<54])
  } else {
    ipBytes = Int(packet[14] & 0xf) * 4
    guard packet[14] >> 4 == 4, ipBytes >= 20, packet.count >= 14 + ipBytes else { return false }
    guard naiveSum(Array(packet[14..<14 + ipBytes])) == 0xffff, packet[23] == 6 else { return false }
    guard Int(packet[16]) << 8 | Int(packet[17]) == packet.count - 14 else { return false }
    pseudo = Array(packet[26..<34])
  }
  let transport = Array(packet[(14 + ipBytes)...])
  return naiveSum(pseudo + [0, 6] + word(transport.count) + transport) == 0xffff
}
