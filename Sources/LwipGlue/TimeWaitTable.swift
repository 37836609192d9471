internal import CLwip
internal import DequeModule

/// What names a connection within one interface.
struct FourTuple: Hashable {
  let interfaceIndex: UInt8
  let local: Endpoint
  let remote: Endpoint
}

/// Connections in TIME_WAIT, outside lwIP's list.
///
/// lwIP walks its list of them for each segment that finds no active connection, so for each SYN; a server that closes
/// first would soon walk tens of thousands. Here they lie in a hash table; the one that a segment is for is put on
/// lwIP's list while that segment is processed (`present`), and swept off it afterwards. Time comes from `expire`: 2 MSL
/// after the connection got here (RFC 9293 section 3.4.3), oldest first.
struct TimeWaitTable {
  private struct Entry {
    let pcb: UnsafeMutablePointer<tcp_pcb>
    let deadlineMilliseconds: UInt64
  }

  /// As Linux's tcp_max_tw_buckets on a large machine; beyond, the oldest end early.
  private static let limit = 262_144

  private var entries: [FourTuple: Entry] = [:]
  /// How many of them have an interface and local port, as `portKey`.
  private var portUse: [UInt32: Int] = [:]
  private var order: Deque<(tuple: FourTuple, deadlineMilliseconds: UInt64)> = []

  var isEmpty: Bool { entries.isEmpty }
  var count: Int { entries.count }

  func contains(_ tuple: FourTuple) -> Bool { entries[tuple] != nil }

  func usesPort(interfaceIndex: UInt8, _ port: UInt16) -> Bool { portUse[Self.portKey(interfaceIndex, port)] != nil }

  private static func portKey(_ interface: UInt8, _ port: UInt16) -> UInt32 { UInt32(interface) << 16 | UInt32(port) }

  private mutating func count(_ tuple: FourTuple, _ step: Int) {
    let key = Self.portKey(tuple.interfaceIndex, tuple.local.port)
    let count = (portUse[key] ?? 0) + step
    portUse[key] = count == 0 ? nil : count
  }

  /// How long a connection must have been here before a new one of our own may take its place: then its last segments
  /// have left the path, and the new initial sequence number is beyond the old ones (Linux's net.ipv4.tcp_tw_reuse).
  private static let reuseMilliseconds: UInt64 = 1000

  /// Ends the old connection of `tuple`, if it is old enough for a new one.
  mutating func reuse(_ tuple: FourTuple, nowMilliseconds: UInt64) -> Bool {
    guard let entry = entries[tuple] else { return true }
    let since = entry.deadlineMilliseconds - UInt64(2 * nc_tcp_msl_milliseconds())
    guard nowMilliseconds >= since + Self.reuseMilliseconds else { return false }
    entries[tuple] = nil
    count(tuple, -1)
    nc_tcp_free_time_wait(entry.pcb)
    return true
  }

  /// Takes over what lwIP has put into TIME_WAIT since the last sweep.
  mutating func sweep(_ blocks: ControlBlockTable, nowMilliseconds: UInt64) {
    while let pcb = nc_tcp_take_time_wait() {
      blocks.release(pcb)
      let tuple = pcb.tuple
      if let old = entries[tuple] {
        if old.pcb == pcb { continue }
        nc_tcp_free_time_wait(old.pcb)
      } else {
        count(tuple, 1)
      }
      let deadline = nowMilliseconds + UInt64(2 * nc_tcp_msl_milliseconds())
      entries[tuple] = Entry(pcb: pcb, deadlineMilliseconds: deadline)
      order.append((tuple, deadline))
      while entries.count > Self.limit, let oldest = order.popFirst() {
        remove(oldest.tuple, oldest.deadlineMilliseconds)
      }
    }
  }

  /// A segment for `tuple` is about to enter lwIP. A SYN that can only be of a new connection ends the old one (RFC 1122
  /// section 4.2.2.13: its sequence number is beyond what was received); any other meets the old one.
  mutating func present(_ tuple: FourTuple, isSynOnly: Bool, sequence: UInt32) {
    guard let entry = entries[tuple] else { return }
    if isSynOnly, Int32(bitPattern: sequence &- entry.pcb.pointee.rcv_nxt) > 0 {
      entries[tuple] = nil
      count(tuple, -1)
      nc_tcp_free_time_wait(entry.pcb)
    } else {
      nc_tcp_put_time_wait(entry.pcb)
    }
  }

  /// Frees what has waited long enough.
  mutating func expire(nowMilliseconds: UInt64) {
    while let first = order.first, first.deadlineMilliseconds <= nowMilliseconds {
      order.removeFirst()
      remove(first.tuple, first.deadlineMilliseconds)
    }
  }

  /// When `expire` next has work.
  var nextDeadlineMilliseconds: UInt64? { order.first?.deadlineMilliseconds }

  /// The order keeps entries that were replaced meanwhile; the deadline tells them apart.
  private mutating func remove(_ tuple: FourTuple, _ deadline: UInt64) {
    guard let entry = entries[tuple], entry.deadlineMilliseconds == deadline else { return }
    entries[tuple] = nil
    count(tuple, -1)
    nc_tcp_free_time_wait(entry.pcb)
  }

  mutating func removeAll(interfaceIndex: UInt8) {
    for (tuple, entry) in entries where tuple.interfaceIndex == interfaceIndex {
      entries[tuple] = nil
      count(tuple, -1)
      nc_tcp_free_time_wait(entry.pcb)
    }
  }

  mutating func removeAll() {
    for entry in entries.values { nc_tcp_free_time_wait(entry.pcb) }
    entries = [:]
    portUse = [:]
    order = []
  }
}
