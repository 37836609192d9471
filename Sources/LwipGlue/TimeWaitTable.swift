internal import CLwip
internal import DequeModule

/// Connections in TIME_WAIT, outside lwIP's list.
///
/// lwIP walks its list of them for each segment that finds no active connection, so for each SYN; a server that closes
/// first would soon walk tens of thousands. Here they lie in a hash table; the one that a segment is for is put on
/// lwIP's list while that segment is processed (`present`), and swept off it afterwards. Time comes from `expire`: 2 MSL
/// after the connection got here (RFC 9293 section 3.4.3), oldest first, or after a segment came for it (as Linux's).
///
/// lwIP's `next` is the chain of a block's bucket, and `tmr`, which only lwIP's timer reads of those on its list, is its place in
/// the order in which they end: `sweep` writes it anew. Other fields may be in use: an app may not have read all yet.
final class TimeWaitTable {
  /// As Linux's tcp_max_tw_buckets on a large machine; beyond, the oldest end early.
  private static let limit = 262_144

  private var buckets = ControlBlockBuckets()
  /// Oldest first; no block where one has ended early.
  private var order: Deque<(block: ControlBlock?, deadlineMilliseconds: UInt64)> = []
  /// Of the first in `order`.
  private var firstNumber: UInt32 = 0
  /// How many of them have a local port, for each interface.
  private var portUse: [UInt8: PortCounts] = [:]

  var isEmpty: Bool { count == 0 }
  var count: Int { buckets.count }

  func find(_ tuple: FourTuple) -> ControlBlock? { buckets.find(tuple) }

  func usesPort(interfaceIndex: UInt8, _ port: UInt16) -> Bool { portUse[interfaceIndex].map { $0[port] > 0 } ?? false }

  /// How long a connection must have been here before a new one of our own may take its place: then its last segments
  /// have left the path, and the new initial sequence number is beyond the old ones (Linux's net.ipv4.tcp_tw_reuse).
  private static let reuseMilliseconds: UInt64 = 1000
  private static var lastingMilliseconds: UInt64 { UInt64(2 * nc_tcp_msl_milliseconds()) }

  /// Ends one that was found here, if it is old enough for a new one.
  func reuse(_ block: ControlBlock, nowMilliseconds: UInt64) -> Bool {
    let since = order[position(block)].deadlineMilliseconds - Self.lastingMilliseconds
    guard nowMilliseconds >= since + Self.reuseMilliseconds else { return false }
    end(block)
    return true
  }

  /// Takes over what lwIP has put into TIME_WAIT since the last sweep, and what was presented.
  func sweep(_ blocks: ControlBlockTable, nowMilliseconds: UInt64) {
    while let block = nc_tcp_take_time_wait() {
      blocks.release(block)
      if let old = find(block.tuple) { end(old) }
      add(block, until: nowMilliseconds + Self.lastingMilliseconds)
      while count > Self.limit, let oldest = order.first?.block { end(oldest) }
    }
  }

  /// A segment for `tuple` is about to enter lwIP. A SYN that can only be of a new connection ends the old one (RFC 1122
  /// section 4.2.2.13: its sequence number is beyond what was received); any other meets the old one.
  func present(_ tuple: FourTuple, isSynOnly: Bool, sequence: UInt32) {
    guard let block = find(tuple) else { return }
    if isSynOnly, Int32(bitPattern: sequence &- block.pointee.rcv_nxt) > 0 {
      end(block)
    } else {
      take(block)
      nc_tcp_put_time_wait(block)
    }
  }

  /// Frees what has waited long enough.
  func expire(nowMilliseconds: UInt64) {
    while let (block, deadline) = order.first, deadline <= nowMilliseconds, let block { end(block) }
  }

  /// When `expire` next has work.
  var nextDeadlineMilliseconds: UInt64? { order.first?.deadlineMilliseconds }

  func removeAll(interfaceIndex: UInt8) {
    for block in order.compactMap(\.block) where block.pointee.netif_idx == interfaceIndex { end(block) }
    portUse[interfaceIndex] = nil
  }

  func removeAll() {
    while let oldest = order.first?.block { end(oldest) }
    portUse = [:]
  }

  private func end(_ block: ControlBlock) {
    take(block)
    nc_tcp_free_time_wait(block)
  }

  private func position(_ block: ControlBlock) -> Int { Int(block.pointee.tmr &- firstNumber) }

  private func add(_ block: ControlBlock, until deadline: UInt64) {
    block.pointee.tmr = firstNumber &+ UInt32(truncatingIfNeeded: order.count)
    order.append((block, deadline))
    buckets.insert(block)
    let interface = block.pointee.netif_idx
    if portUse[interface] == nil { portUse[interface] = PortCounts() }
    portUse[interface]?[block.pointee.local_port] += 1
  }

  /// Takes one out. The first in the order always has a block, and there are fewer without than with one, or few.
  private func take(_ block: ControlBlock) {
    guard buckets.remove(block) else { return }
    portUse[block.pointee.netif_idx]?[block.pointee.local_port] -= 1
    order[position(block)].block = nil
    while let oldest = order.first, oldest.block == nil {
      order.removeFirst()
      firstNumber &+= 1
    }
    if order.count > 2 * count + Self.leastGaps { closeGaps() }
  }

  private static let leastGaps = 1024

  /// Closes the gaps in the order.
  private func closeGaps() {
    order.removeAll { $0.block == nil }
    for (position, entry) in order.enumerated() {
      entry.block?.pointee.tmr = firstNumber &+ UInt32(truncatingIfNeeded: position)
    }
  }
}

/// A count for each port. Memory of the ports that were never used is never touched.
private final class PortCounts {
  private let counts: UnsafeMutablePointer<UInt32>
  private static let ports = 65_536

  init() {
    let memory = calloc(Self.ports, MemoryLayout<UInt32>.stride)
    guard let memory else { fatalError("no memory for a table of ports") }
    counts = memory.bindMemory(to: UInt32.self, capacity: Self.ports)
  }

  deinit { free(counts) }

  subscript(_ port: UInt16) -> UInt32 {
    get { counts[Int(port)] }
    set { counts[Int(port)] = newValue }
  }
}
