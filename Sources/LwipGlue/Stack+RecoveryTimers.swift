internal import CLwip
internal import Slab

/// The timers of loss recovery, one for each connection with something in flight.
extension Stack {
  /// When to try again what the link refused.
  private static let refusedMicroseconds: UInt64 = 2000

  /// Chooses what to wait for, now that something was delivered or sent.
  /// - Parameter wait: microseconds after which to look for losses again.
  func schedule(_ recovery: UnsafeMutablePointer<Recovery>, wait: UInt64? = nil) {
    guard !recovery.pointee.list.isEmpty else {
      recovery.pointee.idleSince = nowMicroseconds
      let isWaiting = recovery.pointee.pcb.pointee.unsent != nil && recovery.pointee.isRefused
      recovery.pointee.isRefused = false
      return isWaiting
        ? arm(recovery, .timeout, at: nowMicroseconds + Self.refusedMicroseconds) : arm(recovery, .none, at: .max)
    }
    recovery.pointee.timeoutDeadline = nowMicroseconds + recovery.pointee.timeout
    if recovery.pointee.isRefused {
      recovery.pointee.isRefused = false
      arm(recovery, .reordering, at: nowMicroseconds + Self.refusedMicroseconds)
    } else if let wait {
      arm(recovery, .reordering, at: min(nowMicroseconds + wait, recovery.pointee.timeoutDeadline))
    } else if recovery.pointee.phase == .open, recovery.pointee.selects, recovery.pointee.selectedBytes == 0,
      recovery.pointee.probeEnd == nil, recovery.pointee.backoff == 0, recovery.pointee.probeTimeout != .max
    {
      armProbe(recovery)
    } else {
      arm(recovery, .timeout, at: recovery.pointee.timeoutDeadline)
    }
  }

  func armProbe(_ recovery: UnsafeMutablePointer<Recovery>) {
    arm(recovery, .probe, at: min(nowMicroseconds + recovery.pointee.probeTimeout, recovery.pointee.timeoutDeadline))
  }

  private func arm(_ recovery: UnsafeMutablePointer<Recovery>, _ timer: Recovery.Timer, at deadline: UInt64) {
    recovery.pointee.timer = timer
    recovery.pointee.deadline = deadline
    if timer != .none { putInWheel(recovery) }
  }

  private func putInWheel(_ recovery: UnsafeMutablePointer<Recovery>) {
    let tick = (recovery.pointee.deadline + 999) / 1000
    guard recovery.pointee.wheelTick == 0 || recovery.pointee.wheelTick > tick,
      let bits = nc_tcp_attached(recovery.pointee.pcb)
    else { return }
    recovery.pointee.wheelTick = recoveryWheel.put(SlabKey(argument: bits), at: tick, now: nowMilliseconds)
  }

  /// Runs the timers that are due.
  func runRecoveryTimers() {
    for (key, tick) in recoveryWheel.takeDue(now: nowMilliseconds) {
      guard let recovery = recoveries.pointer(key), recovery.pointee.wheelTick == tick else { continue }
      recovery.pointee.wheelTick = 0
      nc_tcp_restart_timer(recovery.pointee.pcb)
      guard recovery.pointee.timer != .none else { continue }
      guard recovery.pointee.deadline <= nowMicroseconds else {
        putInWheel(recovery)
        continue
      }
      let pcb = recovery.pointee.pcb
      recovery.pointee.trim(to: pcb.pointee.snd_nxt, segmentRecords)
      switch recovery.pointee.timer {
      case .none: break
      case .reordering: lookAgain(recovery)
      case .probe: probe(recovery)
      case .timeout: timeOut(recovery)
      }
    }
  }

  /// What was overtaken has had its time.
  private func lookAgain(_ recovery: UnsafeMutablePointer<Recovery>) {
    let (found, wait) = recovery.pointee.detectLosses(now: nowMicroseconds, segmentRecords)
    if found > 0, recovery.pointee.phase == .open { recovery.pointee.beginRecovery() }
    if recovery.pointee.phase == .recovering {
      recovery.pointee.reduce(Delivery(highest: recovery.pointee.highest), hasProgress: false)
    }
    sendOn(recovery)
    schedule(recovery, wait: wait)
  }

  /// Sends something whose acknowledgement will tell what of the tail was lost: something new, or the last segment again.
  private func probe(_ recovery: UnsafeMutablePointer<Recovery>) {
    guard !recovery.pointee.list.isEmpty else { return schedule(recovery) }
    let pcb = recovery.pointee.pcb
    let end = recovery.pointee.sentEnd
    let segment = recovery.pointee.segmentBytes
    if pcb.pointee.unsent != nil {
      if Int(nc_tcp_first_unsent_length(pcb)) > segment { _ = nc_tcp_cut_unsent(pcb, UInt16(segment)) }
      pcb.pointee.cwnd = end &- pcb.pointee.lastack &+ UInt32(max(1, nc_tcp_first_unsent_length(pcb)))
      tcp_output(pcb)
    }
    recoveryCounters.probes += 1
    recovery.pointee.probeIsOld = recovery.pointee.sentEnd == end
    if recovery.pointee.probeIsOld { resendLast(recovery) }
    recovery.pointee.probeEnd = recovery.pointee.sentEnd
    openWindow(recovery, acknowledged: pcb.pointee.lastack)
    schedule(recovery)
  }

  /// The retransmission timer (RFC 6298 section 5.4 to 5.7): everything is taken for lost, the oldest segment is sent again.
  private func timeOut(_ recovery: UnsafeMutablePointer<Recovery>) {
    let pcb = recovery.pointee.pcb
    guard !recovery.pointee.list.isEmpty else {
      if pcb.pointee.unsent != nil { sendOn(recovery) }  // the link had refused all of it
      return schedule(recovery)
    }
    if pcb.pointee.nrtx < .max { pcb.pointee.nrtx += 1 }
    guard pcb.pointee.nrtx < Self.maximumRetries else { return }  // lwIP ends the connection
    recoveryCounters.timeouts += 1
    recovery.pointee.beginTimeout(now: nowMicroseconds, segmentRecords)
    if recovery.pointee.backoff < .max { recovery.pointee.backoff += 1 }
    sendOn(recovery)
    schedule(recovery)
  }

  /// Sends what may be sent: first what is lost.
  private func sendOn(_ recovery: UnsafeMutablePointer<Recovery>) {
    if recovery.pointee.lostBytes > 0 { resend(recovery) }
    openWindow(recovery, acknowledged: recovery.pointee.pcb.pointee.lastack)
    tcp_output(recovery.pointee.pcb)
  }
}
