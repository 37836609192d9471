internal import CLwip

/// Before a packet enters lwIP, the control block that it is for goes on lwIP's lists, which are empty otherwise
/// (`ControlBlockTable`, `TimeWaitTable`).
extension NetworkInterface {
  /// Presents the block that a packet is for.
  /// - Parameters:
  ///   - p: the packet; its headers are in the first buffer, unless somebody makes them so long that they are not.
  ///   - skip: bytes before the IP header.
  func present(_ p: UnsafeMutablePointer<pbuf>, skip: Int) {
    let bytes = UnsafeRawBufferPointer(start: p.pointee.payload, count: Int(p.pointee.len))
    guard bytes.count >= skip + 20, skip == 0 || isIP(bytes) else { return }
    let packet = UnsafeRawBufferPointer(rebasing: bytes[skip...])
    let isV6 = packet[0] >> 4 == 6
    guard let (transport, offset) = isV6 ? IPHeader.transportV6(packet) : (packet[9], Int(packet[0] & 0xf) * 4) else {
      return stack.blocks.presentAll()  // too long a way to the TCP header, if there is one
    }
    guard transport == IPHeader.tcp else { return }
    guard packet.count >= offset + 20 else { return stack.blocks.presentAll() }
    let base = packet.baseAddress.unsafelyUnwrapped
    let (addressBytes, source) = isV6 ? (16, 8) : (4, 12)
    func word(_ at: Int) -> UInt16 {
      UInt16(bigEndian: base.loadUnaligned(fromByteOffset: offset + at, as: UInt16.self))
    }
    let tuple = FourTuple(
      interfaceIndex: index,
      local: Endpoint(address: IPAddress(bytes: base + source + addressBytes, isV6: isV6), port: word(2)),
      remote: Endpoint(address: IPAddress(bytes: base + source, isV6: isV6), port: word(0)))
    guard !stack.blocks.present(tuple), !stack.timeWait.isEmpty else { return }
    let isSynOnly = packet[offset + 13] & 0x17 == 0x02  // SYN without FIN, RST, ACK
    let sequence = UInt32(bigEndian: base.loadUnaligned(fromByteOffset: offset + 4, as: UInt32.self))
    stack.timeWait.present(tuple, isSynOnly: isSynOnly, sequence: sequence)
  }

  private func isIP(_ frame: UnsafeRawBufferPointer) -> Bool {
    let type = UInt16(frame[12]) << 8 | UInt16(frame[13])
    return type == 0x0800 || type == 0x86dd
  }
}
