internal import CLwip
internal import Slab
internal import Glibc

/// What makes lwIP's TCP fast on links that segment, and fit for small round-trip times.
extension Stack {
  /// The least retransmission time-out that lwIP keeps where recovery is its own; as Linux's TCP_RTO_MIN.
  static let minimumTimeoutMilliseconds: UInt32 = 200
  private static let initialTimeoutMilliseconds: UInt32 = 1000
  private static let maximumTimeoutMilliseconds: UInt32 = 120_000

  /// The connection has been established: chooses segment sizes and windows.
  func begin(_ connection: UnsafeMutablePointer<Connection>, _ pcb: UnsafeMutablePointer<tcp_pcb>) {
    connection.pointee.isEstablished = true
    connection.pointee.readSequence = pcb.pointee.rcv_nxt
    guard let interface = interfaces.first(where: { $0.index == connection.pointee.interfaceIndex }) else { return }
    let headers = connection.pointee.remote.address.isV6 ? 60 : 40
    connection.pointee.wireSegmentBytes = max(
      1, min(Int(pcb.pointee.mss), interface.pathMTU(to: connection.pointee.remote.address) - headers))
    guard Self.isSourceBuild else {
      nc_tcp_set_nodelay(pcb, connection.pointee.noDelay)
      return
    }
    connection.pointee.superSegments = interface.offloads
    pcb.pointee.mss = UInt16(connection.pointee.wireSegmentBytes)
    nc_tcp_set_nodelay(pcb, interface.offloads || connection.pointee.noDelay)
    if let limit = connection.pointee.settings.segmentLimit {
      connection.pointee.wireSegmentBytes = min(connection.pointee.wireSegmentBytes, limit)
      pcb.pointee.mss = UInt16(connection.pointee.wireSegmentBytes)
    }
    // The SYN has announced 64 KiB, or the limit that was set then: less would take back what the peer may use.
    let announced = interface.offloads ? min(65_535, connection.pointee.settings.receiveLimitBytes ?? .max) : 65_535
    beginRecovery(connection, pcb)
    let wanted = UInt32(max(announced, receiveLimit(connection, pcb)))
    nc_tcp_set_receive_window(pcb, min(wanted, nc_tcp_window_limit(pcb)))
  }

  /// Lets lwIP build segments of as many wire segments as the windows allow: on a short path all of them, because the cost
  /// of a segment does not depend on its size; else an eighth of the congestion window and a quarter of the peer's, because
  /// what does not fit a window waits whole, and the acknowledgement clock is to keep ticking.
  func tuneSegmentSize(_ connection: UnsafeMutablePointer<Connection>, _ pcb: UnsafeMutablePointer<tcp_pcb>) {
    let wire = connection.pointee.wireSegmentBytes
    let recovery = recovery(of: pcb)
    recovery?.pointee.segmentBytes = wire
    guard connection.pointee.superSegments else {
      if Int(pcb.pointee.mss) > wire, connection.pointee.isEstablished {  // the path's MTU went down
        pcb.pointee.mss = UInt16(max(wire, Int(nc_tcp_largest_unsent_length(pcb))))
      }
      return
    }
    let congestionWindow = recovery?.pointee.window.bytes ?? Int(pcb.pointee.cwnd)
    let (part, peersPart) = isShort(connection, recovery) ? (1, 1) : (8, 4)
    let most = min(min(congestionWindow / part, Int(pcb.pointee.snd_wnd_max) / peersPart), Self.superSegmentLimit)
    // The kernel would copy an urgent pointer to each of a super-segment's pieces.
    let isUrgent = connection.pointee.sentUrgentEnd != nil
    let count = isUrgent ? 1 : max(1, most / wire)
    let size = count * wire
    if size < Int(pcb.pointee.mss) {
      pcb.pointee.mss = UInt16(max(size, Int(nc_tcp_largest_unsent_length(pcb))))
    } else {
      pcb.pointee.mss = UInt16(size)
    }
  }

  /// Payload bytes per wire segment of the connection that `pcb` belongs to; nil before it is established.
  func wireSegmentBytes(of pcb: UnsafeMutablePointer<tcp_pcb>?) -> Int? {
    if let pcb, let recovery = recovery(of: pcb) { return recovery.pointee.segmentBytes }
    guard let pcb, let connection = connections.pointer(SlabKey(argument: pcb.pointee.callback_arg)),
      connection.pointee.pcb == pcb, connection.pointee.isEstablished
    else { return nil }
    return connection.pointee.wireSegmentBytes
  }

  /// Where recovery is lwIP's own, which is while connecting: it computes time-outs from ticks of its slow timer; on a path
  /// faster than a tick that is no time at all. Before the first measurement it waits for three seconds, and does not back
  /// off while connecting; here it is one second, then two, four, … (RFC 6298 sections 2.1 and 5.5).
  func boundRetransmissionTimers() {
    let tick = nc_tcp_slow_interval_milliseconds()
    let most = Self.maximumTimeoutMilliseconds / tick
    blocks.forEachBusy { current in
      nc_tcp_hold_ending(current)
      if nc_tcp_attached(current) != nil { return }
      let doublings = UInt32(min(current.pointee.nrtx, 7))
      let isConnecting = current.pointee.state == SYN_SENT || current.pointee.state == SYN_RCVD
      let least = max(1, (isConnecting ? Self.initialTimeoutMilliseconds : Self.minimumTimeoutMilliseconds) / tick)
      let computed = isConnecting ? 0 : UInt32(max(0, current.pointee.rto))
      current.pointee.rto = Int16(min(most, max(least << doublings, computed)))
    }
  }

  /// What all connections together may hold for owners that do not read: beyond, data is dropped as by a full receive
  /// buffer. One connection is bounded by its window.
  static let receivedTotalLimit = 512 * 1024 * 1024

  /// Called for each segment that found its PCB; false drops it. What exceeds a listener's backlog is dropped, as Linux
  /// does: the peer tries again.
  func onSegment(
    _ pcb: UnsafeMutablePointer<tcp_pcb>, _ header: UnsafeMutablePointer<tcp_hdr>, optionBytes: UInt16,
    payloadBytes: Int
  ) -> Bool {
    if payloadBytes > 0, receivedTotal > Self.receivedTotalLimit, isHoarding(pcb) {
      budgetDrops += 1
      return false
    }
    if comesFromTooFar(pcb) { return false }
    let flags = nc_tcp_header_flags(header)
    if pcb.pointee.state.rawValue >= ESTABLISHED.rawValue {
      if flags & 0x20 != 0 { noteUrgent(pcb, header) }
      let isBare = payloadBytes == 0 && flags & 0x07 == 0
      if isBare, !allowsBareAcknowledgement(pcb, sequence: nc_tcp_header_sequence(header)) { return false }
      if flags & 0x16 == 0x10 { heedAcknowledgement(pcb, header, optionBytes: optionBytes, isBare: isBare) }
      return true
    }
    // The SYN, and the ACK that would make the connection whole: by then the queue may be full (tcp_v4_syn_recv_sock).
    let argument: UnsafeMutableRawPointer?
    if pcb.pointee.state == LISTEN, flags & 0x02 != 0 {
      argument = pcb.pointee.callback_arg
    } else if pcb.pointee.state == SYN_RCVD, flags & 0x17 == 0x10 {
      argument = nc_tcp_listener_argument(pcb)
    } else {
      return true
    }
    guard let listener = listeners.pointer(SlabKey(argument: argument)) else { return true }
    return admits(listener.pointee.owner)
  }

  /// Whether the connection's owner leaves much unread: the others may go on when the common budget is used up.
  private func isHoarding(_ pcb: UnsafeMutablePointer<tcp_pcb>) -> Bool {
    guard let connection = connections.pointer(SlabKey(argument: pcb.pointee.callback_arg)) else { return false }
    return connection.pointee.receivedBytes > 64 * 1024
  }

  /// lwIP answers each acknowledgement that lies outside its window with one of its own: two ends that disagree (forged
  /// segments, a stale connection) would answer each other for ever. As Linux's tcp_invalid_ratelimit, one such per half
  /// second and connection is let through (RFC 5961 section 7).
  private func allowsBareAcknowledgement(_ pcb: UnsafeMutablePointer<tcp_pcb>, sequence: UInt32) -> Bool {
    let offset = sequence &- pcb.pointee.rcv_nxt
    if offset == 0 || offset <= pcb.pointee.rcv_wnd { return true }
    guard let connection = connections.pointer(SlabKey(argument: pcb.pointee.callback_arg)),
      connection.pointee.pcb == pcb
    else { return true }
    guard nowMilliseconds >= connection.pointee.lastStrayMilliseconds + 500 else { return false }
    connection.pointee.lastStrayMilliseconds = nowMilliseconds
    return true
  }
}
