internal import CLwip
internal import Slab

/// Loss recovery (`Recovery`) between lwIP and the timers.
///
/// Theory of operation: lwIP keeps what it sent in `unacked` and sends from `unsent` as far as `lastack + cwnd` reaches.
/// Its own recovery is kept from acting: before it processes a segment, its count of duplicates is cleared, and its timer is
/// one that we always restart in time. `cwnd` is set to where sending may go (`openWindow`), which is not the congestion
/// window: what the peer has beyond a hole, and what is lost, takes no room. What is to be sent again is copied out of
/// `unacked` (`nc_tcp_resend`), which stays as it is.
///
/// The state of a PCB is found by a key that the PCB carries, and ends with the PCB, or as soon as all it will ever send is
/// acknowledged; it outlives the `Connection`, whose owner may be gone while the last bytes are under way.
extension Stack {
  /// Ticks of lwIP's retransmission timer, 20 s; it bounds also how long lwIP keeps segments that came out of order from a
  /// peer that says nothing more (six times that).
  private static let lwipTimeoutTicks: UInt16 = 400
  static let maximumRetries: UInt8 = 12  // TCP_MAXRTX: lwIP ends the connection
  /// Below what an IPv4 packet may be long, headers included.
  static let superSegmentLimit = 65_535 - 120

  func recovery(of pcb: UnsafeMutablePointer<tcp_pcb>) -> UnsafeMutablePointer<Recovery>? {
    guard let bits = nc_tcp_attached(pcb) else { return nil }
    return recoveries.pointer(SlabKey(argument: bits))
  }

  /// Takes recovery over from lwIP, on a connection that has just been established.
  func beginRecovery(_ connection: UnsafeMutablePointer<Connection>, _ pcb: UnsafeMutablePointer<tcp_pcb>) {
    let answered = nc_tcp_answered(pcb)
    if answered != 0 { connection.pointee.roundTrip.add(UInt32(clamping: nowMicroseconds - answered)) }
    var recovery = Recovery(
      pcb: pcb, segmentBytes: connection.pointee.wireSegmentBytes, mayCombine: connection.pointee.superSegments,
      selects: nc_tcp_selects(pcb), next: pcb.pointee.snd_nxt)
    recovery.roundTrip = connection.pointee.roundTrip
    if recovery.roundTrip.least > 0 {
      pathTimes.note(
        recovery.roundTrip.least, to: connection.pointee.remote.address, nowMilliseconds: nowMilliseconds)
    }
    guard let key = recoveries.insert(recovery) else { return }
    nc_tcp_attach(pcb, key.argument)
    nc_tcp_suspend_recovery(pcb, Self.lwipTimeoutTicks)
    if let recovery = recoveries.pointer(key) { openWindow(recovery, acknowledged: pcb.pointee.lastack) }
  }

  /// lwIP frees the PCB of `key`, or it will send nothing more.
  func endRecovery(_ key: SlabKey) {
    guard let recovery = recoveries.pointer(key) else { return }
    segmentRecords.removeAll(from: &recovery.pointee.list)
    _ = recoveries.remove(key)
  }

  // MARK: What lwIP does

  /// lwIP sends a segment of its queue.
  func onSending(_ pcb: UnsafeMutablePointer<tcp_pcb>, _ sequence: UInt32, count: Int) {
    guard let recovery = recovery(of: pcb) else { return }
    let first = isBefore(sequence, pcb.pointee.lastack) ? pcb.pointee.lastack : sequence
    let wasIdle = recovery.pointee.list.isEmpty
    recovery.pointee.sent(first, count: count - Int(first &- sequence), now: nowMicroseconds, segmentRecords)
    if wasIdle {
      schedule(recovery)
    } else if recovery.pointee.timer == .probe {
      armProbe(recovery)
    }
  }

  /// A segment that lwIP will accept the acknowledgement of.
  func heedAcknowledgement(
    _ pcb: UnsafeMutablePointer<tcp_pcb>, _ header: UnsafeMutablePointer<tcp_hdr>, optionBytes: UInt16, isBare: Bool
  ) {
    guard let recovery = recovery(of: pcb) else { return }
    nc_tcp_suspend_recovery(pcb, Self.lwipTimeoutTicks)
    let number = nc_tcp_header_acknowledgement(header)
    guard number &- pcb.pointee.lastack <= pcb.pointee.snd_nxt &- pcb.pointee.lastack else { return }
    recovery.pointee.trim(to: pcb.pointee.snd_nxt, segmentRecords)
    if !recovery.pointee.list.isEmpty {
      let isDuplicate =
        isBare && number == pcb.pointee.lastack && nc_tcp_header_window(pcb, header) == pcb.pointee.snd_wnd
      let blockCount =
        optionBytes > 0 && recovery.pointee.selects ? Int(nc_tcp_sack_blocks(header, optionBytes, sackBlocks)) : 0
      heed(recovery, number, blockCount: blockCount, isDuplicate: isDuplicate)
    } else {
      recovery.pointee.acknowledged = number
      recovery.pointee.sentEnd = number
    }
    openWindow(recovery, acknowledged: number)
    if recovery.pointee.list.isEmpty, pcb.pointee.unsent == nil, pcb.pointee.state.rawValue >= FIN_WAIT_1.rawValue,
      pcb.pointee.state != CLOSE_WAIT, pcb.pointee.state != FIN_WAIT_2, let key = nc_tcp_attached(pcb)
    {
      nc_tcp_attach(pcb, nil)  // our FIN is acknowledged
      endRecovery(SlabKey(argument: key))
    }
  }

  /// What an acknowledgement of everything before `number` says of what is in flight.
  private func heed(
    _ recovery: UnsafeMutablePointer<Recovery>, _ number: UInt32, blockCount: Int, isDuplicate: Bool
  ) {
    let now = nowMicroseconds
    var delivery = Delivery(highest: recovery.pointee.highest)
    let flight = recovery.pointee.flight
    let hasProgress = number != recovery.pointee.acknowledged
    if hasProgress { recovery.pointee.acknowledge(before: number, now: now, &delivery, segmentRecords) }
    let undoes = heedBlocks(recovery, number, count: blockCount, &delivery)
    recovery.pointee.highest = delivery.highest
    if let roundTrip = delivery.roundTrip {
      recovery.pointee.roundTrip.add(roundTrip)
      recovery.pointee.window.measure(
        roundTrip: roundTrip, acknowledged: number, next: recovery.pointee.sentEnd)
    }
    if hasProgress { recovery.pointee.backoff = 0 }
    if !recovery.pointee.selects { countDuplicate(recovery, isDuplicate: isDuplicate, &delivery) }
    if undoes || recovery.pointee.selects && delivery.disprovesTimeout { recovery.pointee.undo(segmentRecords) }
    endProbe(recovery, number, delivery)

    let isQuiet = recovery.pointee.phase == .open && recovery.pointee.selectedBytes == 0
    var wait: UInt64?
    if !isQuiet || recovery.pointee.timer == .reordering || isBefore(number, recovery.pointee.highest) {
      wait = heedLosses(recovery, number, delivery, hasProgress: hasProgress)
    }
    if recovery.pointee.phase != .recovering, hasProgress, isLimiting(recovery, flight) {
      recovery.pointee.window.grow(
        acknowledged: delivery.bytes, segmentBytes: recovery.pointee.segmentBytes, now: now,
        roundTrip: recovery.pointee.roundTrip.smoothed)
    }
    if recovery.pointee.lostBytes > 0 { resend(recovery) }
    if delivery.bytes > 0 || wait != nil || recovery.pointee.list.isEmpty { schedule(recovery, wait: wait) }
  }

  /// Marks what SACK blocks name. A block is heeded if it lies in what is in flight (RFC 2018 section 4); the first may tell
  /// of something that came twice (RFC 2883 section 4). True where that undoes the last reduction.
  private func heedBlocks(
    _ recovery: UnsafeMutablePointer<Recovery>, _ number: UInt32, count: Int, _ delivery: inout Delivery
  ) -> Bool {
    var undoes = false
    let end = recovery.pointee.sentEnd
    for index in 0..<count {
      let block = sackBlocks[index]
      guard isBefore(block.left, block.right), !isBefore(end, block.right) else { continue }
      let isInside =
        index == 0 && count > 1
        && !isBefore(block.left, sackBlocks[1].left) && !isBefore(sackBlocks[1].right, block.right)
      if index == 0, isInside || !isBefore(number, block.right) {
        delivery.isDuplicate = true
        undoes = recovery.pointee.noteDuplicate(block)
      } else if !isBefore(block.left, number) {
        recovery.pointee.select(block, now: nowMicroseconds, &delivery, segmentRecords)
      }
    }
    return undoes
  }

  /// Looks for losses, begins and ends episodes, and lets the window follow.
  private func heedLosses(
    _ recovery: UnsafeMutablePointer<Recovery>, _ number: UInt32, _ delivery: Delivery, hasProgress: Bool
  ) -> UInt64? {
    if recovery.pointee.phase != .open, !isBefore(number, recovery.pointee.episodeEnd) {
      if recovery.pointee.phase == .recovering { recovery.pointee.window.set(recovery.pointee.window.threshold) }
      recovery.pointee.phase = .open
      recovery.pointee.duplicates = 0
    }
    var (found, wait) = recovery.pointee.detectLosses(now: nowMicroseconds, segmentRecords)
    if !recovery.pointee.selects {
      let isPartial = recovery.pointee.phase == .recovering && hasProgress
      if isPartial || recovery.pointee.phase == .open && recovery.pointee.duplicates >= 3 {
        found += recovery.pointee.loseFirst(segmentRecords)
      }
    }
    if found > 0, recovery.pointee.phase == .open { recovery.pointee.beginRecovery() }
    if recovery.pointee.phase == .recovering {
      recovery.pointee.reduce(delivery, hasProgress: hasProgress && found == 0)
    }
    return wait
  }

  /// A peer without SACK: each duplicate acknowledgement means that a segment has arrived (RFC 5681 section 3.2).
  private func countDuplicate(
    _ recovery: UnsafeMutablePointer<Recovery>, isDuplicate: Bool, _ delivery: inout Delivery
  ) {
    let segment = recovery.pointee.segmentBytes
    if isDuplicate {
      recovery.pointee.duplicates += 1
      delivery.bytes += segment
    } else if delivery.bytes > 0, recovery.pointee.duplicates > 0 {
      let counted = min(delivery.bytes / max(1, segment), recovery.pointee.duplicates)
      recovery.pointee.duplicates = recovery.pointee.phase == .recovering ? recovery.pointee.duplicates - counted : 0
    }
  }

  /// What was sent when a probe was is acknowledged, and more: if the probe was an old segment and did not come twice, it made
  /// good a loss that nothing else told of (RFC 8985 section 7.4.2).
  private func endProbe(_ recovery: UnsafeMutablePointer<Recovery>, _ number: UInt32, _ delivery: Delivery) {
    guard let end = recovery.pointee.probeEnd, !isBefore(number, end) else { return }
    if recovery.pointee.probeIsOld, !delivery.isDuplicate {
      guard isBefore(end, number) else { return }
      if recovery.pointee.phase == .open {
        recovery.pointee.window.reduce(segmentBytes: recovery.pointee.segmentBytes)
        recovery.pointee.window.set(recovery.pointee.window.threshold)
      }
    }
    recovery.pointee.probeEnd = nil
  }

  /// Whether the congestion window is what holds sending back; if not, it has not been tried, and must not grow. A window
  /// that is filled to the half is tried in slow start (as Linux's tcp_is_cwnd_limited).
  private func isLimiting(_ recovery: UnsafeMutablePointer<Recovery>, _ flight: Int) -> Bool {
    let window = recovery.pointee.window
    if window.bytes < window.threshold { return 2 * flight >= window.bytes }
    return flight + max(window.bytes / 8, 2 * recovery.pointee.segmentBytes) >= window.bytes
  }

  // MARK: Sending

  /// Sets how far lwIP may send: by what the window leaves beside what is in flight, and what is to be sent again first.
  /// Nothing may wait that does not fit while nothing is in flight: no acknowledgement would ever let it go.
  func openWindow(_ recovery: UnsafeMutablePointer<Recovery>, acknowledged: UInt32) {
    let pcb = recovery.pointee.pcb
    let sent = Int(pcb.pointee.snd_nxt &- acknowledged)
    let room = max(0, recovery.pointee.window.bytes - recovery.pointee.flight - recovery.pointee.lostBytes)
    pcb.pointee.cwnd = UInt32(clamping: sent + room)
    let length = Int(nc_tcp_first_unsent_length(pcb))
    let segment = recovery.pointee.segmentBytes
    guard length > segment else { return }
    let offset = Int(nc_tcp_first_unsent(pcb) &- acknowledged)
    let fits = min(sent + room, Int(pcb.pointee.snd_wnd)) - offset
    guard fits < length else { return }
    guard recovery.pointee.list.isEmpty || 4 * length > recovery.pointee.window.bytes else { return }
    if fits >= segment, nc_tcp_cut_unsent(pcb, UInt16(fits / segment * segment)) { return }
    if recovery.pointee.list.isEmpty { pcb.pointee.cwnd = UInt32(clamping: max(sent + room, offset + length)) }
  }

  /// Sends again what is lost, as far as the window lets it.
  func resend(_ recovery: UnsafeMutablePointer<Recovery>) {
    let records = segmentRecords
    let segment = recovery.pointee.segmentBytes
    let largest = recovery.pointee.mayCombine ? max(1, Self.superSegmentLimit / segment) * segment : segment
    var room = recovery.pointee.window.bytes - recovery.pointee.flight
    var index = recovery.pointee.list.first
    while index != SegmentRecords.none, recovery.pointee.lostBytes > 0 {
      let record = records[index]
      guard record.state.contains(.lost) else {
        index = record.next
        continue
      }
      guard room >= min(segment, record.count) else { return }
      let count = min(record.count, max(segment, min(room, largest) / segment * segment))
      let sent = Int(nc_tcp_resend(recovery.pointee.pcb, record.start, UInt32(count)))
      guard sent > 0 else {
        recovery.pointee.isRefused = true
        return
      }
      countResent(bytes: sent)
      if sent < record.count { _ = records.cut(index, at: record.start &+ UInt32(sent), in: &recovery.pointee.list) }
      noteResent(recovery, index)
      room -= sent
      index = records[index].next
    }
  }

  private func countResent(bytes: Int) {
    recoveryCounters.resends += 1
    recoveryCounters.resentBytes += UInt64(bytes)
  }

  private func noteResent(_ recovery: UnsafeMutablePointer<Recovery>, _ index: UInt32) {
    let count = segmentRecords[index].count
    if segmentRecords[index].state.contains(.lost) { recovery.pointee.lostBytes -= count }
    segmentRecords[index].state = .resent
    segmentRecords[index].sentMicroseconds = nowMicroseconds
    if recovery.pointee.phase == .recovering { recovery.pointee.reductionSent += count }
    if let bytes = recovery.pointee.undoBytes { recovery.pointee.undoBytes = bytes + count }
  }

  /// Sends the last wire segment again of what the peer is not known to have.
  func resendLast(_ recovery: UnsafeMutablePointer<Recovery>) {
    let records = segmentRecords
    var index = recovery.pointee.list.last
    while index != SegmentRecords.none, records[index].state.contains(.selected) { index = records[index].previous }
    guard index != SegmentRecords.none else { return }
    let record = records[index]
    let count = min(record.count, recovery.pointee.segmentBytes)
    let start = record.end &- UInt32(count)
    let sent = Int(nc_tcp_resend(recovery.pointee.pcb, start, UInt32(count)))
    guard sent > 0 else { return }
    countResent(bytes: sent)
    if count < record.count {
      guard records.cut(index, at: start, in: &recovery.pointee.list) else { return }
      index = records[index].next
    }
    records[index].state.insert(.resent)
    records[index].sentMicroseconds = nowMicroseconds
  }
}

func hookSending(_ pcb: UnsafeMutablePointer<tcp_pcb>?, _ sequence: UInt32, _ count: UInt32) {
  guard let pcb else { return }
  Stack.current?.onSending(pcb, sequence, count: Int(count))
}

func hookDestroyed(_ key: UnsafeMutableRawPointer?) { Stack.current?.endRecovery(SlabKey(argument: key)) }
