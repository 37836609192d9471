internal import CLwip
internal import Frames
internal import Glibc

/// Fragments in: what `Reassembly` completes goes to lwIP, or past it where its buffers cannot hold it.
extension NetworkInterface {
  /// The largest packet in one of lwIP's buffers.
  private static let packetLimit = 65_535

  /// Whether the frame carries a fragment. One behind other extension headers is left to lwIP, which drops it.
  func isFragment(_ head: UnsafeRawBufferPointer) -> Bool {
    let base = head.baseAddress.unsafelyUnwrapped
    switch UInt16(bigEndian: base.loadUnaligned(fromByteOffset: 12, as: UInt16.self)) {
    case 0x0800: return UInt16(bigEndian: base.loadUnaligned(fromByteOffset: 20, as: UInt16.self)) & 0x3fff != 0
    case 0x86dd: return base.load(fromByteOffset: 20, as: UInt8.self) == IPHeader.fragment
    default: return false
    }
  }

  /// Takes a frame that carries a fragment.
  func receiveFragment(_ frame: Frame) {
    withUnsafeTemporaryAllocation(byteCount: frame.bytes, alignment: 8) { buffer in
      var filled = 0
      for index in 0..<frame.count {
        let vector = frame.vectors[index]
        (buffer.baseAddress! + filled).copyMemory(from: vector.iov_base, byteCount: vector.iov_len)
        filled += vector.iov_len
      }
      receiveFragment(UnsafeRawBufferPointer(rebasing: buffer[14..<filled]))
    }
  }

  /// Takes a fragment, from its IP header on.
  func receiveFragment(_ packet: UnsafeRawBufferPointer) {
    let drops = datagrams.reassembly.drops
    let whole = datagrams.reassembly.add(packet, nowMilliseconds: stack.nowMilliseconds)
    counters.fragments += datagrams.reassembly.drops - drops
    guard let whole else { return }
    guard let p = Self.buffers(whole) else {
      counters.noMemory += 1
      return
    }
    // The link's word for one fragment says nothing of the others.
    nc_netif_set_checksum_check(netif, true)
    p.pointee.if_idx = index
    if whole.packetBytes > Self.packetLimit {
      stack.receiveBeyondBuffers(p, whole, self)
      pbuf_free(p)
    } else {
      present(p, skip: 0)
      if ip_input(p, netif) != ERR_OK.rawValue { pbuf_free(p) }
      stack.leaveLwip()
    }
  }

  /// The packet in lwIP's buffers: in one, or where one cannot hold it (IPv6, beyond 65,495 bytes of payload) in two, all
  /// headers in the first.
  private static func buffers(_ packet: Reassembly.Packet) -> UnsafeMutablePointer<pbuf>? {
    let firstBytes = packet.packetBytes > packetLimit ? packetLimit : packet.packetBytes
    guard let p = pbuf_alloc(PBUF_LINK, UInt16(firstBytes), PBUF_RAM) else { return nil }
    if packet.packetBytes > firstBytes {
      guard let rest = pbuf_alloc(PBUF_RAW, UInt16(packet.packetBytes - firstBytes), PBUF_RAM) else {
        pbuf_free(p)
        return nil
      }
      pbuf_cat(p, rest)
    }
    var (current, offset) = (p, 0)
    for piece in [packet.finishedHeader] + packet.pieces {
      piece.withUnsafeBytes { bytes in
        var left = bytes[...]
        while !left.isEmpty {
          if offset == Int(current.pointee.len), let next = current.pointee.next { (current, offset) = (next, 0) }
          let part = UnsafeRawBufferPointer(rebasing: left.prefix(Int(current.pointee.len) - offset))
          (current.pointee.payload + offset).copyMemory(from: part.baseAddress!, byteCount: part.count)
          offset += part.count
          left = left.dropFirst(part.count)
        }
      }
    }
    return p
  }

  /// Gives up on packets whose fragments have not all come, and tells their senders (RFC 792, RFC 4443 section 3.3).
  func expireFragments() {
    guard !datagrams.reassembly.isEmpty else { return }
    let drops = datagrams.reassembly.drops
    var abandoned: [Reassembly.Abandoned] = []
    datagrams.reassembly.expire(nowMilliseconds: stack.nowMilliseconds) { abandoned.append($0) }
    counters.fragments += datagrams.reassembly.drops - drops
    for packet in abandoned {
      let isV6 = packet.header[0] >> 4 == 6
      stack.sendError(type: isV6 ? 3 : 11, code: 1, about: packet.header, packet.firstPiece, self)
    }
  }
}

extension Stack {
  /// Takes an IPv6 packet that is complete and right, but too long for lwIP's buffers to count.
  fileprivate func receiveBeyondBuffers(
    _ p: UnsafeMutablePointer<pbuf>, _ whole: Reassembly.Packet, _ interface: NetworkInterface
  ) {
    let (source, destination) = whole.header.withUnsafeBytes {
      (IPAddress(bytes: $0.baseAddress! + 8, isV6: true), IPAddress(bytes: $0.baseAddress! + 24, isV6: true))
    }
    guard !source.isMulticast, !destination.isMulticast || interface.isMember(of: destination) else { return }
    guard !onPacket(p, headerBytes: whole.header.count, from: source, to: destination, interface) else { return }
    guard whole.header[6] == IPHeader.udp, !destination.isMulticast else { return }
    sendError(type: 1, code: 4, about: whole.header, whole.pieces[0], interface)
  }

  /// Sends an ICMP error that quotes a received packet's header and the beginning of its payload.
  fileprivate func sendError(
    type: UInt8, code: UInt8, about header: [UInt8], _ payload: [UInt8], _ interface: NetworkInterface
  ) {
    let isV6 = header[0] >> 4 == 6
    let (source, destination) = header.withUnsafeBytes { bytes in
      let base = bytes.baseAddress! + (isV6 ? 8 : 12)
      return (IPAddress(bytes: base, isV6: isV6), IPAddress(bytes: base + (isV6 ? 16 : 4), isV6: isV6))
    }
    guard interface.owns(destination), !source.isMulticast, !source.isAny else { return }
    // RFC 4443 section 2.4 c: as much as fits the least MTU; RFC 792: eight bytes.
    let quoted = header + payload.prefix(isV6 ? 1280 - 40 - 8 - header.count : 8)
    let message = [type, code, 0, 0, 0, 0, 0, 0] + quoted
    message.withUnsafeBytes { bytes in
      try? send(
        isV6 ? .icmpV6 : .icmp, from: interface, source: Endpoint(address: destination, port: 0),
        destination: Endpoint(address: source, port: 0), payload: bytes, options: DatagramOptions())
    }
  }
}
