internal import CLwip
internal import Glibc

/// What the stack keeps for datagrams.
struct DatagramState {
  var controlBlocks: [UnsafeMutablePointer<raw_pcb>] = []
  /// Of the fragments of IPv4 and IPv6 that the stack sends: unpredictable where it begins (RFC 7739).
  var identification = UInt32.random(in: .min ... .max)
  var neighbours = NeighbourWatch()
  /// How many datagrams for no socket may be answered, and when that was last added to.
  var answers = 50
  var answersEarnedMilliseconds: UInt64 = 0
  /// The payload of a datagram that came in more pieces than a receiver takes.
  var joined: [UInt8] = []
}

private let notEaten: UInt8 = 0
private let eaten: UInt8 = 1

/// Datagrams in: UDP and echo replies to the receiver, errors to whoever they are for.
///
/// Theory of operation: lwIP's raw control blocks see each packet that has passed lwIP's checks of the IP header, before lwIP's own protocols do; none of lwIP's UDP control blocks is used. What the receiver does not take goes on to
/// lwIP, which answers with port unreachable. An IPv6 packet is offered under its first header's number: those with
/// extension headers are walked.
extension Stack {
  /// The most pieces of a payload that `ReceivedDatagram` lists: with two more, sendmsg(2) takes them (IOV_MAX).
  public static let datagramPieceLimit = 1000

  func beginDatagrams() {
    let v6Only: [UInt8] = [IPHeader.hopByHop, IPHeader.routing, IPHeader.fragment, IPHeader.destinationOptions]
    for number in [IPHeader.udp, IPHeader.icmp, IPHeader.icmpV6] + v6Only {
      let block = nc_raw_new(number, v6Only.contains(number)) { _, _, p, _ in
        guard let stack = Stack.current, let p else { return notEaten }
        guard let netif = nc_current_input_netif(),
          stack.onPacket(
            p, headerBytes: Int(nc_current_header_bytes()), from: IPAddress(nc_current_source()),
            to: IPAddress(nc_current_destination()), NetworkInterface.of(netif))
        else { return notEaten }
        pbuf_free(p)
        return eaten
      }
      if let block { datagrams.controlBlocks.append(block) }
    }
  }

  func endDatagrams() {
    for block in datagrams.controlBlocks { raw_remove(block) }
    datagrams.controlBlocks = []
  }

  /// Takes a packet whose IP header is at the payload of `p`. True: it is dealt with.
  func onPacket(
    _ p: UnsafeMutablePointer<pbuf>, headerBytes: Int, from source: IPAddress, to destination: IPAddress,
    _ interface: NetworkInterface
  ) -> Bool {
    guard let packet = IncomingPacket(p, headerBytes: headerBytes, from: source, to: destination) else { return false }
    switch (packet.transport, packet.isV6) {
    case (IPHeader.udp, _): return onUDP(packet, interface)
    case (IPHeader.icmp, false): return onICMP(packet, interface)
    case (IPHeader.icmpV6, true): return onICMPv6(packet, interface)
    default: return false
    }
  }

  private func onUDP(_ packet: IncomingPacket, _ interface: NetworkInterface) -> Bool {
    guard packet.firstBytes >= 8 else {
      datagramCounters.malformed += 1
      return true
    }
    let udp = packet.transportHeader
    func word(_ index: Int) -> UInt16 {
      UInt16(bigEndian: udp.loadUnaligned(fromByteOffset: index * 2, as: UInt16.self))
    }
    let length = Int(word(2))
    guard length >= 8, length <= packet.transportBytes else {
      datagramCounters.malformed += 1
      return true
    }
    let hasChecksum = word(3) != 0
    let mustVerify = nc_netif_checks_udp(interface.netif) && (hasChecksum || packet.isV6)
    guard !mustVerify || (hasChecksum && packet.checksumIsRight(bytes: length)) else {
      datagramCounters.badChecksum += 1
      return true
    }
    let isTaken = packet.withPieces(skipping: 8, bytes: length - 8, joined: &datagrams.joined) { pieces in
      datagramReceiver?.receive(
        ReceivedDatagram(
          kind: .udp, interface: interface.number, source: Endpoint(address: packet.source, port: word(0)),
          destination: Endpoint(address: packet.destination, port: word(1)), hopLimit: packet.hopLimit,
          trafficClass: packet.trafficClass, payload: pieces, payloadBytes: length - 8)) ?? false
    }
    if isTaken { datagramCounters.received += 1 } else { datagramCounters.unclaimed += 1 }
    return isTaken || !mayAnswer()
  }

  /// Whether lwIP may answer with port unreachable: a thousand times a second, as net.ipv4.icmp_msgs_per_sec allows, in
  /// bursts of fifty.
  private func mayAnswer() -> Bool {
    let earned = nowMilliseconds - datagrams.answersEarnedMilliseconds
    if earned > 0 {
      datagrams.answers = min(50, datagrams.answers + Int(min(earned, 50)))
      datagrams.answersEarnedMilliseconds = nowMilliseconds
    }
    guard datagrams.answers > 0 else {
      datagramCounters.unanswered += 1
      return false
    }
    datagrams.answers -= 1
    return true
  }

  private func onICMP(_ packet: IncomingPacket, _ interface: NetworkInterface) -> Bool {
    guard packet.firstBytes >= 8 else { return false }  // lwIP counts and drops it
    switch packet.transportHeader.load(as: UInt8.self) {
    case 0: onEchoReply(packet, .icmp, interface)
    case 3, 11, 12: onError(packet, interface)
    default: break
    }
    return false  // lwIP answers requests and ignores the rest
  }

  private func onICMPv6(_ packet: IncomingPacket, _ interface: NetworkInterface) -> Bool {
    guard packet.firstBytes >= 8 else { return false }
    let type = packet.transportHeader.load(as: UInt8.self)
    if type == 129 { onEchoReply(packet, .icmpV6, interface) }
    guard (1...4).contains(type) else { return false }
    onError(packet, interface)
    return true  // lwIP would believe any "packet too big", however small, from anybody
  }

  private func onEchoReply(_ packet: IncomingPacket, _ kind: DatagramProtocol, _ interface: NetworkInterface) {
    guard packet.checksumIsRight(bytes: packet.transportBytes) else {
      datagramCounters.badChecksum += 1
      return
    }
    guard let receiver = datagramReceiver else { return }
    let identifier = UInt16(bigEndian: packet.transportHeader.loadUnaligned(fromByteOffset: 4, as: UInt16.self))
    let bytes = packet.transportBytes
    let isTaken = packet.withPieces(skipping: 0, bytes: bytes, joined: &datagrams.joined) { pieces in
      receiver.receive(
        ReceivedDatagram(
          kind: kind, interface: interface.number, source: Endpoint(address: packet.source, port: 0),
          destination: Endpoint(address: packet.destination, port: identifier), hopLimit: packet.hopLimit,
          trafficClass: packet.trafficClass, payload: pieces, payloadBytes: bytes))
    }
    if isTaken { datagramCounters.received += 1 } else { datagramCounters.unclaimed += 1 }
  }

  private func onError(_ packet: IncomingPacket, _ interface: NetworkInterface) {
    guard packet.checksumIsRight(bytes: packet.transportBytes) else {
      datagramCounters.badChecksum += 1
      return
    }
    packet.withPrefix { onErrorMessage($0, from: packet.source, isV6: packet.isV6, interface) }
  }
}

/// A packet: a chain of lwIP's buffers, with the IP header at the first's payload, and all of it in the first.
struct IncomingPacket {
  let isV6: Bool
  let source: IPAddress
  let destination: IPAddress
  let hopLimit: UInt8
  let trafficClass: UInt8
  /// The number of the header behind the last IP header.
  let transport: UInt8
  /// From the transport header on: bytes in all, and in the first buffer.
  let transportBytes: Int
  let firstBytes: Int
  private let p: UnsafeMutablePointer<pbuf>
  private let headerBytes: Int

  /// Nil for a packet that is shorter than its headers.
  init?(_ p: UnsafeMutablePointer<pbuf>, headerBytes: Int, from source: IPAddress, to destination: IPAddress) {
    let firstLength = Int(p.pointee.len)
    guard headerBytes >= 20, firstLength >= headerBytes, let base = p.pointee.payload else { return nil }
    let header = UnsafeRawBufferPointer(start: base, count: headerBytes)
    isV6 = header[0] >> 4 == 6
    if isV6 {
      guard headerBytes >= 40, let last = IPHeader.lastV6(header) else { return nil }
      hopLimit = header[7]
      trafficClass = header[0] << 4 | header[1] >> 4
      transport = last
    } else {
      hopLimit = header[8]
      trafficClass = header[1]
      transport = header[9]
    }
    self.source = source
    self.destination = destination
    self.p = p
    self.headerBytes = headerBytes
    // An IPv6 packet may be 65,575 bytes long; lwIP's total then has wrapped round, and comes right without the header.
    transportBytes = Int(p.pointee.tot_len &- UInt16(headerBytes))
    firstBytes = min(firstLength - headerBytes, transportBytes)
  }

  var transportHeader: UnsafeRawPointer { UnsafeRawPointer(p.pointee.payload) + headerBytes }

  /// Calls `body` with each piece of `bytes` bytes behind the first `skip` of the transport's.
  private func forEachPiece(skipping skip: Int, bytes: Int, _ body: (UnsafeMutableRawPointer, Int) -> Void) {
    var skip = headerBytes + skip
    var left = bytes
    var piece: UnsafeMutablePointer<pbuf>? = p
    while let current = piece, left > 0 {
      piece = current.pointee.next
      let length = Int(current.pointee.len)
      if skip >= length {
        skip -= length
        continue
      }
      let count = min(length - skip, left)
      body(current.pointee.payload + skip, count)
      left -= count
      skip = 0
    }
  }

  /// Whether the first `bytes` bytes sum up as RFC 768, RFC 792 and RFC 8200 section 8.1 want it.
  func checksumIsRight(bytes: Int) -> Bool {
    var sum: UInt64 = transport == IPHeader.icmp ? 0 : IPHeader.pseudoSum(source, destination, transport, bytes: bytes)
    var isOdd = false
    forEachPiece(skipping: 0, bytes: bytes) { base, count in
      sum = nc_sum_add(sum, isOdd, base, count)
      if count % 2 != 0 { isOdd.toggle() }
    }
    return nc_sum_fold(sum) == 0xffff
  }

  /// Runs `body` with the pieces of `bytes` bytes behind the first `skip`; where they are too many, with one that has it all.
  func withPieces<Result>(
    skipping skip: Int, bytes: Int, joined: inout [UInt8], _ body: (UnsafeMutableBufferPointer<iovec>) -> Result
  ) -> Result {
    var count = 0
    forEachPiece(skipping: skip, bytes: bytes) { _, _ in count += 1 }
    if count > Stack.datagramPieceLimit {
      joined.removeAll(keepingCapacity: true)
      forEachPiece(skipping: skip, bytes: bytes) {
        joined.append(contentsOf: UnsafeRawBufferPointer(start: $0, count: $1))
      }
      return joined.withUnsafeMutableBytes { memory in
        var vector = iovec(iov_base: memory.baseAddress, iov_len: memory.count)
        return withUnsafeMutablePointer(to: &vector) { body(UnsafeMutableBufferPointer(start: $0, count: 1)) }
      }
    }
    return withUnsafeTemporaryAllocation(of: iovec.self, capacity: max(1, count)) { vectors in
      var filled = 0
      forEachPiece(skipping: skip, bytes: bytes) { base, length in
        vectors.initializeElement(at: filled, to: iovec(iov_base: base, iov_len: length))
        filled += 1
      }
      return body(UnsafeMutableBufferPointer(rebasing: vectors.prefix(filled)))
    }
  }

  /// Runs `body` with the transport's first bytes in one piece: all of them, or as many as an ICMP error is long
  /// (RFC 4443 section 2.4: the least MTU).
  func withPrefix(_ body: (UnsafeRawBufferPointer) -> Void) {
    withUnsafeTemporaryAllocation(byteCount: 2048, alignment: 8) { buffer in
      var filled = 0
      forEachPiece(skipping: 0, bytes: min(transportBytes, buffer.count)) { base, count in
        (buffer.baseAddress! + filled).copyMemory(from: base, byteCount: count)
        filled += count
      }
      body(UnsafeRawBufferPointer(rebasing: buffer.prefix(filled)))
    }
  }
}
