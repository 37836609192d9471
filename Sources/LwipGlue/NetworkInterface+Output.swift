internal import CLwip
internal import Frames
internal import Glibc

private let ok = err_t(ERR_OK.rawValue)
private let protocolTCP: UInt8 = 6

/// The way of a packet out of lwIP: next hop and fragmentation (`outputV4`, `outputV6`), then the frame (`transmit`).
extension NetworkInterface {
  /// As ARP_QUEUE_LEN: enough for the fragments of the largest datagram.
  private static let neighbourQueueLimit: UInt32 = 64

  func outputV4(_ p: UnsafeMutablePointer<pbuf>?, _ destination: UnsafePointer<ip4_addr_t>?) -> err_t {
    guard let p, let destination else { return err_t(ERR_ARG.rawValue) }
    if stack.holdsBack(from: netif) { return err_t(ERR_WOULDBLOCK.rawValue) }
    let target = IPAddress(bytes: destination, isV6: false)
    if Stack.isSourceBuild, addresses.contains(where: { $0.address == target }) { return netif_loop_output(netif, p) }
    let header = p.pointee.payload.assumingMemoryBound(to: UInt8.self)
    let limit = limit(to: target, transport: header[9])
    if Int(p.pointee.tot_len) > limit { return nc_ip4_fragment(p, netif, destination, UInt16(limit)) }
    guard var neighbour = neighbourV4(of: target) else { return err_t(ERR_RTE.rawValue) }
    return showingSource(of: header) { etharp_output(netif, p, &neighbour) }
  }

  /// Who takes an IPv4 packet on the link. lwIP knows one subnet only, and thinks all of it on the link: so it is given
  /// the next hop for the destination, and the one broadcast address that it always takes for such.
  private func neighbourV4(of target: IPAddress) -> ip4_addr_t? {
    if target.isMulticast || target.isLimitedBroadcast { return ip4_addr_t(addr: target.v4Network) }
    if addresses.contains(where: { $0.broadcast == target }) { return ip4_addr_t(addr: .max) }
    return nextHop(to: target).map { ip4_addr_t(addr: $0.v4Network) }
  }

  func outputV6(_ p: UnsafeMutablePointer<pbuf>?, _ destination: UnsafePointer<ip6_addr_t>?) -> err_t {
    guard let p, let destination else { return err_t(ERR_ARG.rawValue) }
    if stack.holdsBack(from: netif) { return err_t(ERR_WOULDBLOCK.rawValue) }
    let header = p.pointee.payload.assumingMemoryBound(to: UInt8.self)
    let target = IPAddress(bytes: destination, isV6: true)
    let limit = limit(to: target, transport: header[6])
    if Int(p.pointee.tot_len) > limit { return fragmentV6(p, destination, limit) }
    defer {
      // TCP's windows bound what waits for a neighbour; nothing else does.
      if header[6] != protocolTCP, !target.isMulticast { nc_nd6_bound_queues(netif, Self.neighbourQueueLimit) }
    }
    // lwIP takes the /64 of each address for the link; a route or a longer prefix may know better.
    if !target.isMulticast, !target.isLinkLocal, let hop = nextHop(to: target), hop != target,
      addresses.contains(where: { $0.address.matches(target, prefixBits: 64) })
    {
      var neighbour = hop.lwip(zone: index).u_addr.ip6
      return ethip6_output(netif, p, &neighbour)
    }
    return ethip6_output(netif, p, destination)
  }

  /// The largest packet that may leave whole. A link that segments cuts TCP's, by what the path takes; on others, segments
  /// that were built before the path's MTU went down leave in fragments.
  private func limit(to target: IPAddress, transport: UInt8) -> Int {
    offloads && transport == protocolTCP ? .max : pathMTU(to: target)
  }

  /// Sends an IPv6 packet without extension headers in fragments (RFC 8200 section 4.5). lwIP's ip6_frag() takes the size
  /// from its destination cache, which not every destination is in, and leaves its mark on the packet, which TCP may need
  /// again.
  private func fragmentV6(
    _ p: UnsafeMutablePointer<pbuf>, _ destination: UnsafePointer<ip6_addr_t>, _ limit: Int
  ) -> err_t {
    stack.datagrams.identification &+= 1
    let room = (limit - 48) & ~7
    let payloadBytes = Int(p.pointee.tot_len) - 40
    for offset in stride(from: 0, to: payloadBytes, by: room) {
      let count = min(room, payloadBytes - offset)
      guard let piece = pbuf_alloc(PBUF_LINK, UInt16(48 + count), PBUF_RAM) else { return err_t(ERR_MEM.rawValue) }
      defer { pbuf_free(piece) }
      let base = piece.pointee.payload!
      pbuf_copy_partial(p, base, 40, 0)
      IPHeader.writeFragment(
        base, count, offset: offset, isLast: offset + count == payloadBytes,
        transport: base.load(fromByteOffset: 6, as: UInt8.self), identification: stack.datagrams.identification)
      pbuf_copy_partial(p, base + 48, UInt16(count), UInt16(40 + offset))
      let result = outputV6(piece, destination)
      guard result == ok else { return result }
    }
    return ok
  }

  /// Makes a frame of a packet and hands it to the link, with what the link has to finish.
  func transmit(_ p: UnsafeMutablePointer<pbuf>?) -> err_t {
    guard let p, let transmitter else { return err_t(ERR_IF.rawValue) }
    guard let frame = frames.make(source: self) else {
      counters.noMemory += 1
      return err_t(ERR_MEM.rawValue)
    }
    if !transmitter.keepsFrames, refer(frame, to: p) {
      pbuf_ref(p)
      frame.context = UnsafeMutableRawPointer(p)
      return send(frame, to: transmitter)
    }
    frame.release()  // of too many pieces (thousands of tiny writes in one segment), or not to be lent for long
    guard let frame = frames.make(source: self), detach(frame, from: p) else {
      counters.noMemory += 1
      return err_t(ERR_MEM.rawValue)
    }
    return send(frame, to: transmitter)
  }

  /// Lists the packet's pieces in the frame; false where they are too many.
  private func refer(_ frame: Frame, to p: UnsafeMutablePointer<pbuf>) -> Bool {
    var piece: UnsafeMutablePointer<pbuf>? = p
    while let current = piece {
      if current.pointee.len > 0 {
        guard frame.append(current.pointee.payload, count: Int(current.pointee.len)) else { return false }
        stack.sendMemory?.retain(holding: current.pointee.payload)
      }
      piece = current.pointee.next
    }
    return true
  }

  /// Makes the frame independent of the packet: lwIP sends a segment again only when nobody else refers to its pbufs, so
  /// a link that keeps frames (a hub, whose receivers queue them) must not hold those. What lies in the apps' buffers
  /// is still shared; headers and small pieces are copied. False, with the frame released, where memory is short.
  private func detach(_ frame: Frame, from p: UnsafeMutablePointer<pbuf>) -> Bool {
    var copiedBytes = 0
    var pieceCount = 0
    var piece: UnsafeMutablePointer<pbuf>? = p
    while let current = piece {
      if stack.sendMemory?.contains(current.pointee.payload) != true { copiedBytes += Int(current.pointee.len) }
      pieceCount += 1
      piece = current.pointee.next
    }
    let copiesAll = pieceCount > frame.capacity
    guard let copy = pbuf_alloc(PBUF_RAW, copiesAll ? p.pointee.tot_len : UInt16(copiedBytes), PBUF_RAM) else {
      frame.release()
      return false
    }
    frame.context = UnsafeMutableRawPointer(copy)
    if copiesAll {
      pbuf_copy(copy, p)
      return frame.append(copy.pointee.payload, count: Int(copy.pointee.len))
    }
    var target = copy.pointee.payload!
    piece = p
    while let current = piece {
      let (base, length) = (current.pointee.payload!, Int(current.pointee.len))
      if stack.sendMemory?.contains(base) == true {
        stack.sendMemory?.retain(holding: base)
        _ = frame.append(base, count: length)
      } else {
        target.copyMemory(from: base, byteCount: length)
        _ = frame.append(target, count: length)
        target += length
      }
      piece = current.pointee.next
    }
    return true
  }

  private func send(_ frame: Frame, to transmitter: any FrameTransmitter) -> err_t {
    defer { frame.release() }
    if offloads { describeOffload(frame) }
    guard transmitter.transmit(frame) else {
      counters.linkFull += 1
      return err_t(ERR_BUF.rawValue)
    }
    return ok
  }

  /// Fills the offload header of a TCP frame: lwIP left the checksum field empty, and the payload may exceed what
  /// one wire frame carries.
  private func describeOffload(_ frame: Frame) {
    let base = UnsafeMutableRawPointer(mutating: frame.head.baseAddress.unsafelyUnwrapped)
    let etherType = UInt16(bigEndian: base.loadUnaligned(fromByteOffset: 12, as: UInt16.self))
    let ip = base + 14
    let isV6 = etherType == 0x86dd
    guard isV6 || etherType == 0x0800 else { return }
    let ipHeaderBytes: Int
    let transport: UInt8
    if isV6 {
      ipHeaderBytes = 40
      transport = ip.load(fromByteOffset: 6, as: UInt8.self)
    } else {
      ipHeaderBytes = Int(ip.load(as: UInt8.self) & 0xf) * 4
      transport = ip.load(fromByteOffset: 9, as: UInt8.self)
      let fragment = UInt16(bigEndian: ip.loadUnaligned(fromByteOffset: 6, as: UInt16.self)) & 0x3fff
      if fragment != 0 { return }
    }
    let transportBytes = frame.bytes - 14 - ipHeaderBytes
    guard transport == protocolTCP, transportBytes >= 20, frame.head.count >= 14 + ipHeaderBytes + 20 else { return }
    let tcp = ip + ipHeaderBytes
    let sender = nc_netif_sending_pcb(netif)
    if tcp.load(fromByteOffset: 13, as: UInt8.self) & 0x02 != 0 {
      let address = IPAddress(bytes: ip + (isV6 ? 24 : 16), isV6: isV6)
      let remote = Endpoint(
        address: address, port: UInt16(bigEndian: tcp.loadUnaligned(fromByteOffset: 2, as: UInt16.self)))
      let localPort = UInt16(bigEndian: tcp.loadUnaligned(as: UInt16.self))
      let pcb = sender ?? stack.handshake(interface: index, localPort: localPort, remote: remote)
      let settings = pcb.flatMap { stack.settings(of: $0) }
      let segment = min(isV6 ? ipv6MTU - 60 : mtu - 40, settings?.segmentLimit ?? .max)
      let window = min(65_535, settings?.receiveLimitBytes ?? .max)
      _ = SynHeader.lower(tcp, segment: UInt16(segment), window: UInt16(window))  // the sum is not finished yet
    }
    let sum = InternetChecksum.pseudoHeader(ip, isV6: isV6, transport: transport, bytes: transportBytes)
    tcp.storeBytes(of: sum.bigEndian, toByteOffset: 16, as: UInt16.self)
    var offload = OffloadHeader()
    offload.flags = OffloadHeader.needsChecksum
    offload.checksumStart = UInt16(14 + ipHeaderBytes)
    offload.checksumOffset = 16
    let tcpHeaderBytes = Int(tcp.load(fromByteOffset: 12, as: UInt8.self) >> 4) * 4
    let linkMTU = isV6 ? ipv6MTU : mtu
    let wireBytes = stack.wireSegmentBytes(of: sender) ?? linkMTU - ipHeaderBytes - 20
    if transportBytes - tcpHeaderBytes > wireBytes {
      offload.segmentation = isV6 ? OffloadHeader.segmentationTCPv6 : OffloadHeader.segmentationTCPv4
      offload.segmentBytes = UInt16(wireBytes)
      offload.headerBytes = UInt16(14 + ipHeaderBytes + tcpHeaderBytes)
    }
    frame.offload = offload
  }
}
