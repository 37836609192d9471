internal import CLwip
public import Slab

/// What TCP_INFO and its kin tell of a connection (tcp(7)).
public struct ConnectionFacts: Sendable {
  /// Linux's number of the state (include/net/tcp_states.h).
  public var state: UInt8 = 7
  /// Time-outs of the oldest segment in a row, and unanswered keepalive or window probes.
  public var retransmits: UInt8 = 0
  public var probes: UInt8 = 0
  public var retransmissionTimeoutMicroseconds: UInt32 = 0
  /// Smoothed, its mean deviation and the least; 0 until measured.
  public var roundTripMicroseconds: UInt32 = 0
  public var roundTripDeviationMicroseconds: UInt32 = 0
  public var leastRoundTripMicroseconds: UInt32 = 0
  /// Payload bytes of a wire segment, of what the peer sends and of what was announced to it.
  public var segmentBytes: UInt32 = 0
  public var announcedSegmentBytes: UInt32 = 0
  /// The congestion window and the slow start threshold, in wire segments.
  public var windowSegments: UInt32 = 0
  public var thresholdSegments: UInt32 = 0
  /// Bytes sent and not acknowledged; bytes queued and not sent at all.
  public var unacknowledgedBytes: UInt32 = 0
  public var unsentBytes: UInt32 = 0
  /// What the peer takes, and what we take, beyond what was acknowledged.
  public var peerWindowBytes: UInt32 = 0
  public var windowBytes: UInt32 = 0
  /// The shifts of the windows (RFC 7323); nil where there are none.
  public var windowScales: (peer: UInt8, own: UInt8)?
  public var sendsSelectiveAcknowledgements = false
  /// The interface's MTU.
  public var pathMTU: UInt32 = 0

  public init() {}
}

extension Stack {
  /// Of lwIP's CLOSED, LISTEN, SYN_SENT, SYN_RCVD, ESTABLISHED, FIN_WAIT_1, FIN_WAIT_2, CLOSE_WAIT, CLOSING, LAST_ACK,
  /// TIME_WAIT.
  private static let linuxStates: [UInt8] = [7, 10, 2, 3, 1, 4, 5, 8, 11, 9, 6]

  /// What `ConnectionFacts.state` would be; nil where there is no such connection.
  public func state(of key: SlabKey) -> UInt8? {
    guard let connection = connections.pointer(key) else { return nil }
    guard let pcb = connection.pointee.pcb else { return ConnectionFacts().state }
    return Self.linuxStates[Int(pcb.pointee.state.rawValue)]
  }

  public func facts(of key: SlabKey) -> ConnectionFacts? {
    guard let connection = connections.pointer(key) else { return nil }
    var facts = ConnectionFacts()
    guard let pcb = connection.pointee.pcb else { return facts }
    let tick = nc_tcp_slow_interval_milliseconds() * 1000
    let wire = UInt32(connection.pointee.wireSegmentBytes)
    facts.state = Self.linuxStates[Int(pcb.pointee.state.rawValue)]
    facts.retransmits = pcb.pointee.nrtx
    facts.probes = max(pcb.pointee.persist_probe, pcb.pointee.keep_cnt_sent)
    let recovery = recovery(of: pcb)
    let timeout = UInt32(max(0, pcb.pointee.rto)) * tick
    facts.retransmissionTimeoutMicroseconds =
      recovery.map { UInt32(clamping: $0.pointee.timeout) } ?? max(timeout, Self.minimumTimeoutMilliseconds * 1000)
    let roundTrip = recovery?.pointee.roundTrip ?? connection.pointee.roundTrip
    facts.roundTripMicroseconds = roundTrip.smoothed
    facts.roundTripDeviationMicroseconds = roundTrip.deviation
    facts.leastRoundTripMicroseconds = roundTrip.least
    facts.segmentBytes = wire
    if let interface = interfaces.first(where: { $0.index == connection.pointee.interfaceIndex }) {
      facts.pathMTU = UInt32(interface.mtu)
      facts.announcedSegmentBytes = UInt32(interface.mtu - (connection.pointee.remote.address.isV6 ? 60 : 40))
    }
    let window = recovery?.pointee.window
    facts.windowSegments = max(1, UInt32(clamping: window?.bytes ?? Int(pcb.pointee.cwnd)) / max(1, wire))
    facts.thresholdSegments = UInt32(clamping: window?.threshold ?? Int(pcb.pointee.ssthresh)) / max(1, wire)
    facts.unacknowledgedBytes = pcb.pointee.snd_nxt &- pcb.pointee.lastack
    facts.unsentBytes = pcb.pointee.snd_lbb &- pcb.pointee.snd_nxt &+ UInt32(connection.pointee.corked.count)
    facts.peerWindowBytes = UInt32(pcb.pointee.snd_wnd)
    facts.windowBytes = UInt32(pcb.pointee.rcv_wnd)
    facts.windowScales = nc_tcp_scales(pcb) ? (nc_tcp_peer_scale(pcb), nc_tcp_own_scale(pcb)) : nil
    facts.sendsSelectiveAcknowledgements = nc_tcp_selects(pcb)
    return facts
  }

  /// The most that the connection announces as its window, in bytes.
  public func windowLimitBytes(_ key: SlabKey) -> UInt32? {
    guard let connection = connections.pointer(key), let pcb = connection.pointee.pcb else { return nil }
    return min(UInt32(connection.pointee.receiveTuning.limitBytes), nc_tcp_window_limit(pcb))
  }
}
