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
///
/// On a short path bytes wait for this process, and not for the wire: larger windows would carry no more, but make all queues
/// longer, until the peers take the path for a long one, and bytes have left the caches before they are copied. So there the
/// connections that receive much share a little memory; on long paths they share more. What is sent waits in the apps as well:
/// with little for each connection more of them take turns, and each turn wakes the app and the peer.
extension Stack {
  /// Bytes a connection may hold that are not yet acknowledged, at first and at most.
  static let sendBudgetBytes = 1024 * 1024
  private static let largestSendBudgetBytes = 8 * 1024 * 1024
  /// What all connections may hold that move much, each in its direction, and what each may hold however many they are.
  private static let sharedSendBytes = 64 * 1024 * 1024
  private static let sharedReceiveBytes = (short: 8 * 1024 * 1024, long: 64 * 1024 * 1024)
  private static let leastShareBytes = 128 * 1024
  /// Unread bytes of all connections at which windows no longer grow.
  private static let growthLimit = receivedTotalLimit / 4
  /// Below this round trip, in microseconds, a path is short.
  private static let shortRoundTrip: UInt32 = 1000
  /// Below this one the peer is on this machine, or as good as: `nearReceiveBytes` are 40 Gbit/s over it. More would be in the
  /// caches no more when its turn to be copied comes (a core's second-level cache has 0.5 to 2 MiB, and bytes are in three places
  /// on their way); with 1 MiB one stream was received 4 to 10 % more slowly.
  private static let nearRoundTrip: UInt32 = 100
  private static let nearReceiveBytes = 512 * 1024

  /// Whether any connection moves much at present.
  public var hasBulk: Bool { activity.hasAny }

  /// How many receive much, and how many send.
  public var bulk: (receivers: Int, senders: Int) { (activity.receivers, activity.senders) }

  func isShort(_ connection: UnsafeMutablePointer<Connection>, _ recovery: UnsafeMutablePointer<Recovery>?) -> Bool {
    guard let recovery else { return true }
    return leastRoundTrip(connection, recovery) < Self.shortRoundTrip
  }

  /// The connection's own, or that of others to its address where that is less; microseconds, 0 before any was measured.
  private func leastRoundTrip(
    _ connection: UnsafeMutablePointer<Connection>, _ recovery: UnsafeMutablePointer<Recovery>
  ) -> UInt32 {
    let own = recovery.pointee.roundTrip.least
    guard own >= Self.nearRoundTrip else { return own }
    return min(own, pathTimes.least(to: connection.pointee.remote.address, nowMilliseconds: nowMilliseconds))
  }

  /// Twice the congestion window, so that an acknowledgement finds something to send, while the apps' buffers suffice.
  func sendBudget(_ connection: UnsafeMutablePointer<Connection>, _ pcb: UnsafeMutablePointer<tcp_pcb>) -> Int {
    let share = max(Self.leastShareBytes, Self.sharedSendBytes / activity.count)
    guard let recovery = recovery(of: pcb), !isShort(connection, recovery), sendMemory?.isScarce != true else {
      return min(share, Self.sendBudgetBytes)
    }
    let wanted = max(Self.sendBudgetBytes, 2 * recovery.pointee.window.bytes)
    return min(share, min(Self.largestSendBudgetBytes, wanted))
  }

  /// Received bytes and window together, for now; where it goes down, the window is not taken back, but opens no further.
  func receiveLimit(_ connection: UnsafeMutablePointer<Connection>, _ pcb: UnsafeMutablePointer<tcp_pcb>) -> Int {
    if let limit = connection.pointee.receiveLimitBytes { return limit }
    let roundTrip = recovery(of: pcb).map { leastRoundTrip(connection, $0) }
    let isShort = roundTrip.map { $0 < Self.shortRoundTrip } ?? true
    let isNear = roundTrip.map { $0 < Self.nearRoundTrip } ?? false
    let shared = isShort ? Self.sharedReceiveBytes.short : Self.sharedReceiveBytes.long
    let most = isNear ? Self.nearReceiveBytes : connection.pointee.receiveTuning.limitBytes
    return min(most, max(Self.leastShareBytes, shared / activity.count))
  }

  /// The owner has read `bytes`: lets the limit follow. As Linux (tcp_rcv_space_adjust), it is to hold twice what the owner
  /// reads in a round trip: then it is not what the peer's sending waits for.
  func adaptReceiveLimit(
    _ connection: UnsafeMutablePointer<Connection>, _ pcb: UnsafeMutablePointer<tcp_pcb>, _ bytes: Int
  ) {
    guard connection.pointee.receiveLimitBytes == nil, let recovery = recovery(of: pcb), !isShort(connection, recovery)
    else { return }
    connection.pointee.receiveTuning.readBytes += bytes
    let tuning = connection.pointee.receiveTuning
    let (elapsed, roundTrip) = (nowMicroseconds - tuning.start, UInt64(recovery.pointee.roundTrip.least))
    guard elapsed >= roundTrip else { return }
    let rate = UInt64(connection.pointee.receiveTuning.readBytes) * roundTrip / elapsed
    let wanted = min(2 * Int(rate), Int(nc_tcp_window_limit(pcb)))
    connection.pointee.receiveTuning.start = nowMicroseconds
    connection.pointee.receiveTuning.readBytes = 0
    guard tuning.start != 0, wanted > tuning.limitBytes, receivedTotal < Self.growthLimit else { return }
    connection.pointee.receiveTuning.limitBytes = wanted
  }
}
