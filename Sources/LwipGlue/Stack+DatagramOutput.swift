internal import CLwip
internal import Glibc

private let ok = err_t(ERR_OK.rawValue)

/// Datagrams out: UDP and ICMP messages of sockets.
///
/// Theory of operation: the packets are built here, header and all, each fragment in a buffer of its own, and handed to the
/// interface's way out (next hop, neighbour, frame). lwIP's own fragmentation takes the size from its IPv6 destination
/// cache, knows no DF bit and cannot hold the largest IPv6 datagrams; and a fragment that refers to the original would be
/// copied again in each queue that waits for a neighbour. What is for the interface itself goes through lwIP's loopback
/// queue, in fragments only where it exceeds what lwIP's buffers can hold.
extension Stack {
  /// The most bytes of a UDP datagram: an IPv4 packet has 65,535 with its header, an IPv6 packet without.
  public static func datagramLimit(_ kind: DatagramProtocol, isV6: Bool) -> Int {
    (isV6 ? 65_535 : 65_515) - (kind == .udp ? 8 : 0)
  }

  /// What a looped packet may be long, IP header included.
  private static let loopbackMTU = 65_535

  /// Sends a datagram; copies the payload and never blocks. As on Linux, success means only that it was not refused: a
  /// full link or an unresolved neighbour's full queue drops it (counted).
  /// - Parameters:
  ///   - source: an address of the interface (where it is "any", chosen as `datagramSource` does), and the port; for ICMP
  ///     the port is the identifier.
  ///   - destination: perhaps a group or broadcast address; "any" is loopback, as on Linux.
  ///   - payload: for ICMP the whole message; its identifier and checksum are filled in.
  /// - Throws: EMSGSIZE (too large, or larger than the path's MTU with `dontFragment`), ENETUNREACH, EINVAL (an ICMP message
  ///   shorter than its header, families that differ), ENOBUFS.
  public func send(
    _ kind: DatagramProtocol, from interface: NetworkInterface, source: Endpoint, destination: Endpoint,
    payload: UnsafeRawBufferPointer, options: DatagramOptions
  ) throws(StackError) {
    let isV6 = destination.address.isV6
    guard kind == .udp || (payload.count >= 8 && isV6 == (kind == .icmpV6)) else { throw StackError(EINVAL) }
    guard payload.count <= Self.datagramLimit(kind, isV6: isV6) else { throw StackError(EMSGSIZE) }
    let target = destination.address.isAny ? (isV6 ? IPAddress.loopbackV6 : .loopbackV4) : destination.address
    var origin = source.address
    if origin.isAny { origin = try interface.datagramSource(for: target) }
    guard origin.isV6 == isV6 else { throw StackError(EINVAL) }
    guard interface.reaches(target) else { throw StackError(ENETUNREACH) }
    let isLocal = target.isLoopback || interface.owns(target)
    let message = OutgoingMessage(
      kind: kind, source: Endpoint(address: origin, port: source.port),
      destination: Endpoint(address: target, port: destination.port), payload: payload, options: options)
    let mtu = isLocal ? Self.loopbackMTU : interface.pathMTU(to: target)
    if options.dontFragment, message.packetBytes > mtu, !isLocal { throw StackError(EMSGSIZE) }
    if isLocal { return try loop(message, interface) }
    let isBroadcast = interface.isBroadcast(target)
    if isBroadcast || (target.isMulticast && options.loopsMulticast && interface.isMember(of: target)),
      Self.isSourceBuild
    {
      try loop(message, interface)
    }
    guard options.hopLimit > 0 else { return }
    if !target.isMulticast, !isBroadcast { watchNeighbour(of: message, interface) }
    try submit(message, mtu: mtu) { interface.output($0, to: target) }
  }

  private func loop(_ message: OutgoingMessage, _ interface: NetworkInterface) throws(StackError) {
    guard Self.isSourceBuild else { throw StackError(ENETUNREACH) }
    try submit(message, mtu: Self.loopbackMTU) { netif_loop_output(interface.netif, $0) }
  }

  private func submit(
    _ message: OutgoingMessage, mtu: Int, _ output: (UnsafeMutablePointer<pbuf>) -> err_t
  ) throws(StackError) {
    datagrams.identification &+= 1
    guard let result = message.packets(mtu: mtu, identification: datagrams.identification, output) else {
      datagramCounters.unsent += 1
      throw StackError(ENOBUFS)
    }
    if result == ok { datagramCounters.sent += 1 } else { datagramCounters.unsent += 1 }
  }
}

/// A datagram with all that its packets need.
struct OutgoingMessage {
  let kind: DatagramProtocol
  let source: Endpoint
  let destination: Endpoint
  let payload: UnsafeRawBufferPointer
  let options: DatagramOptions

  var isV6: Bool { destination.address.isV6 }
  private var ipHeaderBytes: Int { isV6 ? 40 : 20 }
  private var udpHeaderBytes: Int { kind == .udp ? 8 : 0 }
  /// With transport header, without IP's.
  private var transportBytes: Int { payload.count + udpHeaderBytes }
  /// The whole packet, unfragmented.
  var packetBytes: Int { ipHeaderBytes + transportBytes }

  /// Builds the packet, or its fragments where it exceeds `mtu`, and gives them to `output` in order.
  /// - Returns: what `output` said to the first that it did not take (the others are not sent: the datagram is lost), and
  ///   otherwise to the last; nil without memory.
  func packets(
    mtu: Int, identification: UInt32, _ output: (UnsafeMutablePointer<pbuf>) -> err_t
  ) -> err_t? {
    let isFragmented = packetBytes > mtu
    let headerBytes = ipHeaderBytes + (isFragmented && isV6 ? 8 : 0)
    let room = isFragmented ? (mtu - headerBytes) & ~7 : transportBytes
    guard room > 0 || transportBytes == 0 else { return err_t(ERR_VAL.rawValue) }
    let checksum = checksum()
    var offset = 0
    while true {
      let count = min(room, transportBytes - offset)
      guard let p = pbuf_alloc(PBUF_LINK, UInt16(headerBytes + count), PBUF_RAM) else { return nil }
      defer { pbuf_free(p) }
      let base = p.pointee.payload!
      let isLast = offset + count == transportBytes
      if isV6 {
        writeV6(base, count, isFragmented ? (offset, isLast, identification) : nil)
      } else {
        writeV4(base, count, offset: offset, isLast: isLast, identification: identification)
      }
      writeTransport(base + headerBytes, offset: offset, count: count, checksum: checksum)
      let result = output(p)
      offset += count
      if result != ok || isLast { return result }
    }
  }

  private func writeV4(
    _ base: UnsafeMutableRawPointer, _ count: Int, offset: Int, isLast: Bool, identification: UInt32
  ) {
    func put(_ value: UInt16, at offset: Int) {
      base.storeBytes(of: value.bigEndian, toByteOffset: offset, as: UInt16.self)
    }
    base.storeBytes(of: 0x45, toByteOffset: 0, as: UInt8.self)
    base.storeBytes(of: options.trafficClass, toByteOffset: 1, as: UInt8.self)
    put(UInt16(20 + count), at: 2)
    put(UInt16(truncatingIfNeeded: identification), at: 4)
    put((options.dontFragment ? 0x4000 : 0) | (isLast ? 0 : 0x2000) | UInt16(offset / 8), at: 6)
    base.storeBytes(of: options.hopLimit, toByteOffset: 8, as: UInt8.self)
    base.storeBytes(of: kind.rawValue, toByteOffset: 9, as: UInt8.self)
    put(0, at: 10)
    source.address.withBytes { (base + 12).copyMemory(from: $0.baseAddress!, byteCount: 4) }
    destination.address.withBytes { (base + 16).copyMemory(from: $0.baseAddress!, byteCount: 4) }
    base.storeBytes(of: ~nc_sum_fold(nc_sum_add(0, false, base, 20)), toByteOffset: 10, as: UInt16.self)
  }

  private func writeV6(
    _ base: UnsafeMutableRawPointer, _ count: Int, _ fragment: (offset: Int, isLast: Bool, identification: UInt32)?
  ) {
    func put(_ value: UInt16, at offset: Int) {
      base.storeBytes(of: value.bigEndian, toByteOffset: offset, as: UInt16.self)
    }
    put(0x6000 | UInt16(options.trafficClass) << 4, at: 0)
    put(0, at: 2)
    put(UInt16(count), at: 4)
    base.storeBytes(of: kind.rawValue, toByteOffset: 6, as: UInt8.self)
    base.storeBytes(of: options.hopLimit, toByteOffset: 7, as: UInt8.self)
    source.address.withBytes { (base + 8).copyMemory(from: $0.baseAddress!, byteCount: 16) }
    destination.address.withBytes { (base + 24).copyMemory(from: $0.baseAddress!, byteCount: 16) }
    guard let fragment else { return }
    IPHeader.writeFragment(
      base, count, offset: fragment.offset, isLast: fragment.isLast, transport: kind.rawValue,
      identification: fragment.identification)
  }

  /// Writes the transport's bytes `offset ..< offset + count`: header, then payload. A fragment has at least eight bytes,
  /// so the header never is in two.
  private func writeTransport(_ base: UnsafeMutableRawPointer, offset: Int, count: Int, checksum: UInt16) {
    let headerBytes = offset == 0 ? udpHeaderBytes : 0
    let from = offset == 0 ? 0 : offset - udpHeaderBytes
    if count > headerBytes {
      (base + headerBytes).copyMemory(from: payload.baseAddress! + from, byteCount: count - headerBytes)
    }
    guard offset == 0 else { return }
    func put(_ value: UInt16, at offset: Int) {
      base.storeBytes(of: value.bigEndian, toByteOffset: offset, as: UInt16.self)
    }
    if kind == .udp {
      put(source.port, at: 0)
      put(destination.port, at: 2)
      put(UInt16(truncatingIfNeeded: transportBytes), at: 4)
      base.storeBytes(of: checksum, toByteOffset: 6, as: UInt16.self)
    } else {
      put(source.port, at: 4)
      base.storeBytes(of: checksum, toByteOffset: 2, as: UInt16.self)
    }
  }

  /// The checksum in memory order. UDP's 0 would mean that there is none (RFC 768).
  private func checksum() -> UInt16 {
    var sum: UInt64 =
      kind == .icmp ? 0 : IPHeader.pseudoSum(source.address, destination.address, kind.rawValue, bytes: transportBytes)
    if kind == .udp {
      sum += UInt64(source.port.bigEndian) + UInt64(destination.port.bigEndian)
      sum += UInt64(UInt16(transportBytes).bigEndian)
      sum = nc_sum_add(sum, false, payload.baseAddress, payload.count)
    } else {
      sum = nc_sum_add(sum, false, payload.baseAddress, 2)  // type and code; not the checksum, not the app's identifier
      sum += UInt64(source.port.bigEndian)
      sum = nc_sum_add(sum, false, payload.baseAddress! + 6, payload.count - 6)
    }
    let checksum = ~nc_sum_fold(sum)
    return kind == .udp && checksum == 0 ? 0xffff : checksum
  }
}

extension NetworkInterface {
  /// Hands a packet to its next hop, a group or everybody.
  fileprivate func output(_ p: UnsafeMutablePointer<pbuf>, to target: IPAddress) -> err_t {
    var ip = target.lwip(zone: index)
    return target.isV6 ? outputV6(p, &ip.u_addr.ip6) : outputV4(p, &ip.u_addr.ip4)
  }
}
