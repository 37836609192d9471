internal import CLwip

/// Whether `a` comes before `b` in the circle of sequence numbers.
func isBefore(_ a: UInt32, _ b: UInt32) -> Bool { Int32(bitPattern: a &- b) < 0 }

/// What all connections sent again, since the stack was made. Handshakes are lwIP's and not among them; neither is anything
/// with the packaged library, which recovers by itself.
public struct RecoveryCounters: Sendable, Equatable {
  /// Frames sent again (one may hold many segments, where the link cuts them), and their payload.
  public var resends: UInt64 = 0
  public var resentBytes: UInt64 = 0
  /// Retransmission timers that ran out (RFC 6298), and probes for a lost tail (RFC 8985 section 7).
  public var timeouts: UInt64 = 0
  public var probes: UInt64 = 0
}

/// What one acknowledgement delivered.
struct Delivery {
  /// Bytes acknowledged or selected for the first time.
  var bytes = 0
  /// The round trip of the newest of them that was sent once; nil where all were sent again.
  var roundTrip: UInt32?
  var newestSent: UInt64 = 0
  /// The highest sequence number among them.
  var highest: UInt32
  /// Something arrived that a time-out had taken for lost, and that was not sent again.
  var disprovesTimeout = false
  /// The peer got something twice (RFC 2883).
  var isDuplicate = false
}

/// Loss recovery of one connection's sending side, beside lwIP: which of its bytes are in flight, had by the peer, or lost;
/// how many more may leave; and until when to wait.
///
/// Theory of operation: records (`SegmentRecord`) cover what lwIP has sent and not had acknowledged. An acknowledgement and
/// its SACK blocks (RFC 2018) take records away or mark them; what was sent before something that has arrived since is lost
/// once a reordering window has passed (RACK, RFC 8985). Lost ranges, which may be parts of the segments that lwIP has
/// queued, are sent again before anything new. The window (`CongestionWindow`) then shrinks in proportion to what the peer
/// reports (RFC 6937). When acknowledgements stop, the last segment is sent again as a probe whose answer tells what was
/// lost (RFC 8985 section 7), and only then the retransmission timer (RFC 6298) takes everything for lost. A reduction that
/// turns out to have been for nothing is taken back: when the peer reports all that was sent again as duplicates, or
/// something arrives that only the first sending can have brought (RFC 5682).
///
/// This is the state and what follows from it; `Stack+Recovery.swift` is what lwIP and the timers have to do with it.
struct Recovery: ~Copyable {
  enum Phase: UInt8 {
    case open
    /// A loss was noticed by what arrived after it; until `episodeEnd` is acknowledged.
    case recovering
    /// The timer ran out; until `episodeEnd` is acknowledged.
    case timedOut
  }
  enum Timer: UInt8 { case none, reordering, probe, timeout }

  let pcb: UnsafeMutablePointer<tcp_pcb>
  /// Payload bytes of a wire segment.
  var segmentBytes: Int
  /// Whether the link cuts larger segments.
  let mayCombine: Bool
  /// Whether the peer sends SACK blocks.
  let selects: Bool
  var window: CongestionWindow
  var roundTrip = RoundTrip()

  /// What is in flight: from `acknowledged` up to `sentEnd`.
  var list = RecordList()
  var acknowledged: UInt32
  var sentEnd: UInt32
  var selectedBytes = 0
  var lostBytes = 0
  /// Duplicate acknowledgements of a peer without SACK: a segment each has left the path (RFC 5681 section 3.2).
  var duplicates = 0

  var phase = Phase.open
  var episodeStart: UInt32 = 0
  var episodeEnd: UInt32 = 0
  var timedOutAt: UInt64 = 0
  /// Bytes that were sent again in this episode and not reported as duplicates; nil where nothing is to be taken back.
  var undoBytes: Int?

  /// RACK: of what arrived, the one that was sent last.
  var newestSent: UInt64 = 0
  var newestEnd: UInt32 = 0
  var newestRoundTrip: UInt32 = 0
  var highest: UInt32
  var hasReordering = false
  var reorderingQuarters: UInt32 = 1
  var reorderingRoundEnd: UInt32 = 0

  /// Proportional rate reduction: delivered and sent since it began, and what was in flight then.
  var reductionDelivered = 0
  var reductionSent = 0
  var reductionFlight = 1

  /// The end of what was sent when a probe was, until that is acknowledged; and whether the probe was an old segment.
  var probeEnd: UInt32?
  var probeIsOld = false

  var timer = Timer.none
  /// When `timer` is due, and when the retransmission timer is; microseconds.
  var deadline = UInt64.max
  var timeoutDeadline = UInt64.max
  /// Where the connection stands in the timer wheel; 0: nowhere.
  var wheelTick: UInt64 = 0
  var backoff: UInt8 = 0
  var idleSince: UInt64 = 0
  /// The link has refused what was to be sent again.
  var isRefused = false

  init(pcb: UnsafeMutablePointer<tcp_pcb>, segmentBytes: Int, mayCombine: Bool, selects: Bool, next: UInt32) {
    self.pcb = pcb
    self.segmentBytes = segmentBytes
    self.mayCombine = mayCombine
    self.selects = selects
    window = CongestionWindow(segmentBytes: segmentBytes)
    acknowledged = next
    sentEnd = next
    highest = next
    window.begin(at: next)
  }

  var sentBytes: Int { Int(sentEnd &- acknowledged) }
  /// Bytes that are on the path, as far as is known.
  var flight: Int { max(0, sentBytes - selectedBytes - lostBytes - min(duplicates * segmentBytes, sentBytes)) }

  // MARK: Sending

  /// Something is sent for the first time.
  mutating func sent(_ sequence: UInt32, count: Int, now: UInt64, _ records: SegmentRecords) {
    let end = sequence &+ UInt32(count)
    var start = sequence
    if list.isEmpty {
      (acknowledged, sentEnd, highest) = (start, start, start)
      if idleSince != 0 { window.rest(microseconds: now - idleSince, timeout: timeout, segmentBytes: segmentBytes) }
    } else if isBefore(start, sentEnd) {
      start = sentEnd
    }
    guard isBefore(start, end) else { return }
    if !records.append(SegmentRecord(start: start, end: end, sentMicroseconds: now), to: &list) {
      guard !list.isEmpty else { return }  // no memory for records: lwIP's timer is left
      if records[list.last].state.contains(.selected) { selectedBytes -= records[list.last].count }
      if records[list.last].state.contains(.lost) { lostBytes -= records[list.last].count }
      records[list.last].state = .resent
      records[list.last].end = end
      records[list.last].sentMicroseconds = now
    }
    sentEnd = end
    if phase == .recovering { reductionSent += Int(end &- start) }
  }

  /// Forgets what the link refused: lwIP still has that among what is to be sent.
  mutating func trim(to next: UInt32, _ records: SegmentRecords) {
    guard isBefore(next, sentEnd) else { return }
    while !list.isEmpty, isBefore(next, records[list.last].end) {
      let isWhole = !isBefore(records[list.last].start, next)
      let gone = isWhole ? records[list.last].count : Int(records[list.last].end &- next)
      if records[list.last].state.contains(.selected) { selectedBytes -= gone }
      if records[list.last].state.contains(.lost) { lostBytes -= gone }
      if isWhole { records.remove(list.last, from: &list) } else { records[list.last].end = next }
    }
    sentEnd = isBefore(next, acknowledged) ? acknowledged : next
  }

  // MARK: Acknowledgements

  /// Everything before `number` is acknowledged.
  mutating func acknowledge(
    before number: UInt32, now: UInt64, _ delivery: inout Delivery, _ records: SegmentRecords
  ) {
    while !list.isEmpty {
      var record = records[list.first]
      guard isBefore(record.start, number) else { break }
      let isWhole = !isBefore(number, record.end)
      if !isWhole { record.end = number }
      if record.state.contains(.selected) {
        selectedBytes -= record.count
      } else {
        deliver(record, now: now, &delivery)
      }
      if isWhole { records.remove(list.first, from: &list) } else { records[list.first].start = number }
    }
    acknowledged = number
    if list.isEmpty { sentEnd = number }
  }

  /// The peer has what lies in a SACK block; the block lies within what is in flight.
  mutating func select(
    _ block: nc_sack_block, now: UInt64, _ delivery: inout Delivery, _ records: SegmentRecords
  ) {
    var index = list.first
    while index != SegmentRecords.none, isBefore(records[index].start, block.right) {
      let record = records[index]
      if record.state.contains(.selected) || !isBefore(block.left, record.end) {
        index = record.next
        continue
      }
      if isBefore(record.start, block.left) {
        _ = records.cut(index, at: block.left, in: &list)
        index = records[index].next
        continue
      }
      if isBefore(block.right, record.end), !records.cut(index, at: block.right, in: &list) { return }
      deliver(records[index], now: now, &delivery)
      selectedBytes += records[index].count
      records[index].state.insert(.selected)
      records[index].state.remove(.lost)
      index = records[records.merge(index, in: &list)].next
      if index != SegmentRecords.none { index = records.merge(index, in: &list) }
    }
  }

  /// The record has arrived.
  private mutating func deliver(_ record: SegmentRecord, now: UInt64, _ delivery: inout Delivery) {
    delivery.bytes += record.count
    if record.state.contains(.lost) { lostBytes -= record.count }
    if isBefore(delivery.highest, record.end) { delivery.highest = record.end }
    let roundTrip = UInt32(clamping: now - record.sentMicroseconds)
    if record.state.contains(.resent) {
      // Too soon for the last sending: it was an earlier one. A lone segment may be a little faster than any before.
      if roundTrip < self.roundTrip.least / 8 * 7 { return }
    } else {
      if isBefore(record.end, highest) { hasReordering = true }
      if phase == .timedOut, record.state.contains(.lost), record.sentMicroseconds <= timedOutAt {
        delivery.disprovesTimeout = true
      }
      if record.sentMicroseconds >= delivery.newestSent {
        delivery.newestSent = record.sentMicroseconds
        delivery.roundTrip = max(1, roundTrip)
      }
    }
    if isSentBefore(newestSent, newestEnd, record.sentMicroseconds, record.end) {
      newestSent = record.sentMicroseconds
      newestEnd = record.end
      newestRoundTrip = roundTrip
    }
  }

  private func isSentBefore(_ time: UInt64, _ end: UInt32, _ otherTime: UInt64, _ otherEnd: UInt32) -> Bool {
    time < otherTime || time == otherTime && isBefore(end, otherEnd)
  }

  // MARK: Losses

  /// How long something may be overtaken before it is lost (RFC 8985 section 6.2).
  private var reorderingMicroseconds: UInt64 {
    if !hasReordering, phase != .open || selectedBytes >= 3 * segmentBytes { return 0 }
    return UInt64(min(roundTrip.least / 4 * reorderingQuarters, roundTrip.smoothed))
  }

  /// Takes for lost what was sent well before something that has arrived. Returns how many bytes more are lost, and after
  /// how many microseconds to look again, should nothing else happen.
  mutating func detectLosses(now: UInt64, _ records: SegmentRecords) -> (bytes: Int, wait: UInt64?) {
    let patience = UInt64(newestRoundTrip) + reorderingMicroseconds
    var found = 0
    var wait: UInt64?
    var index = list.first
    while index != SegmentRecords.none {
      let this = index
      let record = records[this]
      index = record.next
      if !record.state.isDisjoint(with: [.selected, .lost]) { continue }
      guard isSentBefore(record.sentMicroseconds, record.end, newestSent, newestEnd) else {
        if record.state.contains(.resent) { continue }
        break  // what follows was sent later still
      }
      let due = record.sentMicroseconds + patience
      if due <= now {
        records[this].state.insert(.lost)
        found += record.count
      } else {
        wait = max(wait ?? 0, due - now)
      }
    }
    lostBytes += found
    return (found, wait)
  }

  /// Takes the oldest segment for lost: a peer without SACK says no more.
  mutating func loseFirst(_ records: SegmentRecords) -> Int {
    guard !list.isEmpty, !records[list.first].state.contains(.lost) else { return 0 }
    if records[list.first].count > segmentBytes {
      _ = records.cut(list.first, at: acknowledged &+ UInt32(segmentBytes), in: &list)
    }
    records[list.first].state.insert(.lost)
    lostBytes += records[list.first].count
    return records[list.first].count
  }

  /// Takes all for lost that the peer is not known to have; and that too, where it evidently threw it away (the oldest
  /// segment cannot be one that it has).
  mutating func loseAll(_ records: SegmentRecords) {
    let hasReneged = !list.isEmpty && records[list.first].state.contains(.selected)
    lostBytes = 0
    selectedBytes = 0
    var index = list.first
    while index != SegmentRecords.none {
      if hasReneged { records[index].state.remove(.selected) }
      if records[index].state.contains(.selected) {
        selectedBytes += records[index].count
      } else {
        records[index].state.insert(.lost)
        lostBytes += records[index].count
      }
      index = records[index].next
    }
  }

  // MARK: Episodes

  mutating func beginRecovery() {
    window.reduce(segmentBytes: segmentBytes)
    beginEpisode(.recovering)
    reductionDelivered = 0
    reductionSent = 0
    reductionFlight = max(1, sentBytes)
  }

  private mutating func beginEpisode(_ phase: Phase) {
    self.phase = phase
    episodeStart = acknowledged
    episodeEnd = sentEnd
    undoBytes = 0
    probeEnd = nil
  }

  /// The retransmission timer has run out.
  mutating func beginTimeout(now: UInt64, _ records: SegmentRecords) {
    // Once for each loss: not again while what was lost then is being sent.
    if phase == .open || phase == .timedOut && acknowledged != episodeStart {
      window.reduce(segmentBytes: segmentBytes)
    }
    let undo = phase == .open ? 0 : undoBytes
    loseAll(records)
    beginEpisode(.timedOut)
    undoBytes = undo
    timedOutAt = now
    duplicates = 0
    window.set(segmentBytes)
  }

  /// The reduction was for nothing.
  mutating func undo(_ records: SegmentRecords) {
    var index = list.first
    while index != SegmentRecords.none {
      records[index].state.remove(.lost)
      index = records[index].next
    }
    lostBytes = 0
    window.restore()
    phase = .open
    undoBytes = nil
    backoff = 0
  }

  /// The peer got something twice: `block` of it. True where that was the last of what was sent again in this episode.
  mutating func noteDuplicate(_ block: nc_sack_block) -> Bool {
    if let probeEnd, block.right == probeEnd { return false }
    if !isBefore(acknowledged, reorderingRoundEnd), reorderingQuarters < 20 {  // once a round trip
      reorderingQuarters += 1
      reorderingRoundEnd = sentEnd
    }
    guard let bytes = undoBytes, bytes > 0, !isBefore(block.left, episodeStart) else { return false }
    undoBytes = max(0, bytes - Int(block.right &- block.left))
    return undoBytes == 0
  }

  /// How much may be in flight while the window comes down (RFC 6937): sending is spread over the round trip.
  mutating func reduce(_ delivery: Delivery, hasProgress: Bool) {
    reductionDelivered += delivery.bytes
    let inFlight = flight
    var room: Int
    if inFlight > window.threshold {
      let share = (reductionDelivered * window.threshold + reductionFlight - 1) / reductionFlight
      room = share - reductionSent
    } else {
      let limit = max(reductionDelivered - reductionSent, delivery.bytes) + (hasProgress ? segmentBytes : 0)
      room = min(window.threshold - inFlight, limit)
    }
    if reductionSent == 0 { room = max(room, segmentBytes) }  // the fast retransmission
    window.set(inFlight + max(0, room))
  }

  // MARK: Time

  private static let leastDeviation: UInt32 = 200_000
  private static let mostTimeout: UInt64 = 120_000_000

  /// The retransmission time-out. As Linux, at least 200 ms above the round trip: a peer delays acknowledgements by up to
  /// 40 ms (Linux) or 200 ms (others), and lost tails are the probe's.
  var timeout: UInt64 {
    var once: UInt64 = 1_000_000
    if roundTrip.smoothed != 0 {
      once = UInt64(roundTrip.smoothed) + UInt64(max(4 * min(roundTrip.deviation, 1 << 28), Self.leastDeviation))
    }
    return min(Self.mostTimeout, once << UInt64(min(backoff, 10)))
  }

  /// When to probe for a lost tail: after two round trips; a single segment's acknowledgement the peer may delay. Not below
  /// 10 ms, which a busy machine may be late by.
  var probeTimeout: UInt64 {
    guard roundTrip.smoothed != 0 else { return .max }
    let delay: UInt64 = sentBytes <= segmentBytes ? 200_000 : 0
    return max(2 * UInt64(roundTrip.smoothed) + delay, 10_000)
  }
}
