internal import CLwip

/// How much a connection's peer may send before the owner reads, and how that follows the path.
struct ReceiveTuning {
  /// Received bytes and window together, where both ends scale: at first enough for one site's bandwidth-delay product, and
  /// small enough that a reader who never reads pins little.
  var limitBytes = 1024 * 1024
  /// What the owner has read since the round trip began, and when that was; microseconds.
  var readBytes = 0
  var start: UInt64 = 0
}

/// Buffers as large as the path needs (1 Gbit/s over 40 ms is 5 MB), under budgets of all connections together.
extension Stack {
  /// Bytes a connection may hold that are not yet acknowledged, at first and at most.
  static let sendBudgetBytes = 1024 * 1024
  private static let largestSendBudgetBytes = 8 * 1024 * 1024
  /// Unread bytes of all connections at which windows no longer grow.
  private static let growthLimit = receivedTotalLimit / 4
  /// Below this round trip, in microseconds, the least buffers carry 8 Gbit/s and more; larger ones would but leave the caches.
  private static let shortRoundTrip: UInt32 = 1000

  /// Twice the congestion window, so that an acknowledgement finds something to send, while the apps' buffers suffice.
  func sendBudget(_ pcb: UnsafeMutablePointer<tcp_pcb>) -> Int {
    guard let recovery = recovery(of: pcb), recovery.pointee.roundTrip.least >= Self.shortRoundTrip,
      sendMemory?.isScarce != true
    else { return Self.sendBudgetBytes }
    return min(Self.largestSendBudgetBytes, max(Self.sendBudgetBytes, 2 * recovery.pointee.window.bytes))
  }

  /// The owner has read `bytes`: by how much the window grows, beyond what is given back. As Linux (tcp_rcv_space_adjust), it
  /// is to hold twice what the owner reads in a round trip: then it is not what the peer's sending waits for.
  func growth(_ connection: UnsafeMutablePointer<Connection>, _ pcb: UnsafeMutablePointer<tcp_pcb>, _ bytes: Int) -> Int
  {
    guard connection.pointee.receiveLimitBytes == nil, let recovery = recovery(of: pcb),
      recovery.pointee.roundTrip.least >= Self.shortRoundTrip
    else { return 0 }
    connection.pointee.receiveTuning.readBytes += bytes
    let tuning = connection.pointee.receiveTuning
    let (elapsed, roundTrip) = (nowMicroseconds - tuning.start, UInt64(recovery.pointee.roundTrip.least))
    guard elapsed >= roundTrip else { return 0 }
    let rate = UInt64(connection.pointee.receiveTuning.readBytes) * roundTrip / elapsed
    let wanted = min(2 * Int(rate), Int(nc_tcp_window_limit(pcb)))
    connection.pointee.receiveTuning.start = nowMicroseconds
    connection.pointee.receiveTuning.readBytes = 0
    guard tuning.start != 0, wanted > tuning.limitBytes, receivedTotal < Self.growthLimit else { return 0 }
    connection.pointee.receiveTuning.limitBytes = wanted
    return wanted - tuning.limitBytes
  }
}
