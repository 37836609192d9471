internal import Glibc
internal import LwipGlue
internal import Slab

/// getsockopt(TCP_INFO), as `struct tcp_info` of linux/tcp.h up to tcpi_total_rto_time, which Linux 6.7 added.
extension Daemon {
  static let tcpInfoBytes = 248

  func fillTCPInfo(_ socket: UnsafeMutablePointer<Socket>, _ data: UnsafeMutableRawBufferPointer) {
    let facts = socket.pointee.connection.flatMap { stack.facts(of: $0) }
    guard socket.pointee.state == .listening else {
      return fillTCPInfo(state: facts?.state ?? 7, facts, data)  // TCP_CLOSE
    }
    fillTCPInfo(state: 10, nil, data)  // TCP_LISTEN
    let info = TCPInfo(data)
    info.put(UInt32(socket.pointee.acceptQueue.count), at: 24)  // tcpi_unacked: connections not accepted
    info.put(UInt32(socket.pointee.backlog), at: 28)  // tcpi_sacked: the backlog
  }

  /// Fills in the fields that the stack knows; the others are 0, as Linux leaves what it does not measure.
  func fillTCPInfo(state: UInt8, _ facts: ConnectionFacts?, _ data: UnsafeMutableRawBufferPointer) {
    let info = TCPInfo(data)
    info.state = state
    if let facts { info.put(facts) }
  }
}

/// Writes the fields of `struct tcp_info` by their offsets.
private struct TCPInfo {
  private let data: UnsafeMutableRawBufferPointer

  init(_ data: UnsafeMutableRawBufferPointer) { self.data = data }

  var state: UInt8 {
    get { data[0] }
    nonmutating set { data[0] = newValue }
  }

  func put(_ value: UInt32, at offset: Int) { data.storeBytes(of: value, toByteOffset: offset, as: UInt32.self) }
  func put(_ value: UInt64, at offset: Int) { data.storeBytes(of: value, toByteOffset: offset, as: UInt64.self) }

  func put(_ facts: ConnectionFacts) {
    data[2] = facts.retransmits
    data[3] = facts.probes
    data[4] = facts.retransmits  // tcpi_backoff: each time-out doubles
    if facts.sendsSelectiveAcknowledgements { data[5] |= 2 }  // TCPI_OPT_SACK
    if let scales = facts.windowScales {
      data[5] |= 4  // TCPI_OPT_WSCALE
      data[6] = scales.peer & 15 | scales.own << 4
    }
    let segment = max(1, facts.segmentBytes)
    put(facts.retransmissionTimeoutMicroseconds, at: 8)
    put(facts.segmentBytes, at: 16)  // tcpi_snd_mss
    put(facts.segmentBytes, at: 20)  // tcpi_rcv_mss
    put((facts.unacknowledgedBytes + segment - 1) / segment, at: 24)  // tcpi_unacked, in segments
    put(facts.pathMTU, at: 60)
    put(facts.windowBytes, at: 64)  // tcpi_rcv_ssthresh
    put(facts.roundTripMicroseconds, at: 68)
    put(facts.roundTripDeviationMicroseconds, at: 72)
    put(facts.thresholdSegments, at: 76)
    put(facts.windowSegments, at: 80)
    put(facts.announcedSegmentBytes, at: 84)
    put(UInt32(3), at: 88)  // tcpi_reordering: the threshold of duplicates (RFC 5681)
    put(facts.windowBytes, at: 96)  // tcpi_rcv_space
    put(UInt64.max, at: 112)  // tcpi_max_pacing_rate: none
    put(facts.unsentBytes, at: 144)
    put(facts.leastRoundTripMicroseconds, at: 148)
    put(facts.peerWindowBytes, at: 228)
    put(facts.windowBytes, at: 232)
  }
}
