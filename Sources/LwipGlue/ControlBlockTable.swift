internal import CLwip

typealias ControlBlock = UnsafeMutablePointer<tcp_pcb>

/// lwIP's TCP control blocks, outside of its list: all but listeners and those in TIME_WAIT.
///
/// lwIP finds the block of a segment by walking one list of them all, and both its timers visit all of them many times a
/// second. Here they lie in a hash table by four-tuple, chained through lwIP's own `next`, and lwIP's list is empty but while
/// it works: whoever enters it `present`s the blocks in question, and `park`s what is on the list afterwards, new ones
/// included. So the cost of a segment does not depend on how many connections there are, and that of a tick depends on
/// how many have work for it (`busy`): unacknowledged bytes, a delayed acknowledgement, an end under way. Blocks that wait
/// for nothing but a keepalive probe are `watched`: each tick visits a slice of them, so that each has its turn about
/// once a second.
///
/// Which of the two lists a block is on stands in an argument that lwIP keeps with it (`nc_tcp_mark`), so a block that
/// lwIP frees, wherever that is, leaves its list at once. With the packaged library, which has no such argument, everything
/// stays on lwIP's list, and all functions here walk that.
final class ControlBlockTable {
  private static let leastBuckets = 1024
  /// Ticks in which all watched blocks are visited once: a second's worth (TCP_SLOW_INTERVAL is 50 ms).
  private static let watchSlices = 20

  private var buckets: UnsafeMutableBufferPointer<ControlBlock?>
  /// Blocks in the buckets; those that are presented do not count.
  private var parked = 0
  /// Random (getrandom(2)), and not 0.
  private let secret: (UInt64, UInt64) = (.random(in: .min ... .max) | 1, .random(in: .min ... .max) | 1)
  private var busy: [ControlBlock] = []
  private var watched: [ControlBlock] = []
  private var watchPosition = 0
  private let isOutside = Stack.isSourceBuild

  /// Blocks outside of lwIP's list; those with work for the timers; those that wait for nothing but a keepalive probe.
  var count: Int { parked }
  var busyCount: Int { busy.count }
  var watchedCount: Int { watched.count }

  init() {
    buckets = .allocate(capacity: Self.leastBuckets)
    buckets.initialize(repeating: nil)
  }

  deinit { buckets.deallocate() }

  // MARK: Finding

  /// The block of a connection; nil where there is none. Blocks that are presented are found too.
  func find(_ tuple: FourTuple) -> ControlBlock? {
    search(from: nc_tcp_active_pcbs(), tuple) ?? (isOutside ? search(from: buckets[bucket(tuple)], tuple) : nil)
  }

  private func search(from first: ControlBlock?, _ tuple: FourTuple) -> ControlBlock? {
    var next = first
    while let block = next {
      if block.isBetween(tuple) { return block }
      next = block.pointee.next
    }
    return nil
  }

  /// All blocks, in no order: linear in their number.
  func contains(where condition: (ControlBlock) -> Bool) -> Bool {
    if Self.contains(nc_tcp_active_pcbs(), condition) { return true }
    return parked > 0 && buckets.contains { Self.contains($0, condition) }
  }

  private static func contains(_ first: ControlBlock?, _ condition: (ControlBlock) -> Bool) -> Bool {
    var next = first
    while let block = next {
      next = block.pointee.next
      if condition(block) { return true }
    }
    return false
  }

  /// Visits blocks that have work for the timers; `body` may end the one that it is given, and no other.
  func forEachBusy(_ body: (ControlBlock) -> Void) {
    guard isOutside else { return forEachActive(body) }
    // Backwards: one that ends is replaced by the last, which has been visited.
    for position in busy.indices.reversed() where position < busy.count { body(busy[position]) }
  }

  /// Visits what is on lwIP's list; `body` may end the one that it is given, and no other.
  func forEachActive(_ body: (ControlBlock) -> Void) {
    _ = Self.contains(nc_tcp_active_pcbs()) {
      body($0)
      return false
    }
  }

  // MARK: Presenting

  /// Runs `body`, which may end, free or move the block, with the block on lwIP's list.
  func entering(_ block: ControlBlock, _ body: () -> Void) {
    present(block)
    body()
    park()
  }

  /// Puts the block of a segment that is about to enter lwIP on its list, if there is one.
  func present(_ tuple: FourTuple) {
    guard isOutside, let block = search(from: buckets[bucket(tuple)], tuple) else { return }
    present(block)
  }

  func present(_ block: ControlBlock) {
    guard isOutside, remove(block) else { return }
    nc_tcp_put_active(block)
  }

  /// Runs lwIP's timers, with those on its list that a tick is for.
  func runTimers(_ timers: () -> Void) {
    guard isOutside else { return timers() }
    for block in busy { present(block) }
    if watchPosition >= watched.count { watchPosition = 0 }
    let slice = watchPosition..<min(watched.count, watchPosition + watched.count / Self.watchSlices + 1)
    for position in slice { present(watched[position]) }
    let ticks = nc_tcp_ticks()
    timers()
    // Only the slow timer, which counts ticks, knows of keepalive probes; others may have run alone.
    if nc_tcp_ticks() != ticks { watchPosition = slice.upperBound }
    park()
    if let block = busy.first ?? watched.first { nc_tcp_start_timer(block) }  // it ends when it finds its list empty
  }

  /// Those that a listener's end may concern: half-open connections are always busy.
  func presentBusy() {
    guard isOutside else { return }
    for block in busy { present(block) }
  }

  func presentAll() {
    guard isOutside else { return }
    for index in buckets.indices {
      while let block = buckets[index] {
        buckets[index] = block.pointee.next
        nc_tcp_put_active(block)
      }
    }
    parked = 0
  }

  /// Takes over whatever is on lwIP's list.
  func park() {
    guard isOutside else { return }
    while let block = nc_tcp_take_active() {
      insert(block)
      noteWork(block)
    }
  }

  // MARK: Work for the timers

  /// The block may have got work, or lost it.
  func noteWork(_ block: ControlBlock) {
    guard isOutside else { return }
    let wanted: Mark = nc_tcp_has_work(block) ? .busy : nc_tcp_keeps_alive(block) ? .watched : .none
    let (current, position) = Mark.read(block)
    guard wanted != current else { return }
    leave(current, position)
    switch wanted {
    case .busy:
      Mark.busy.write(block, busy.count)
      busy.append(block)
    case .watched:
      Mark.watched.write(block, watched.count)
      watched.append(block)
    case .none: Mark.none.write(block, 0)
    }
    if wanted != .none { nc_tcp_start_timer(block) }
  }

  /// The block goes into TIME_WAIT: the timers have no work with it.
  func release(_ block: ControlBlock) {
    let (mark, position) = Mark.read(block)
    leave(mark, position)
    Mark.none.write(block, 0)
  }

  /// lwIP has freed a block with this mark.
  func freed(mark: UInt) {
    let (mark, position) = Mark.decode(mark)
    leave(mark, position)
  }

  private func leave(_ mark: Mark, _ position: Int) {
    switch mark {
    case .busy: Self.remove(&busy, position, mark)
    case .watched: Self.remove(&watched, position, mark)
    case .none: break
    }
  }

  private static func remove(_ list: inout [ControlBlock], _ position: Int, _ mark: Mark) {
    let last = list.removeLast()
    guard position < list.count else { return }
    list[position] = last
    mark.write(last, position)
  }

  /// Which list a block is on, and where: 0 for none, else the position above the list's number.
  private enum Mark: UInt {
    case none, busy, watched

    static func decode(_ mark: UInt) -> (Mark, Int) { (Mark(rawValue: mark & 3) ?? .none, Int(mark >> 2)) }
    static func read(_ block: ControlBlock) -> (Mark, Int) { decode(nc_tcp_mark(block)) }
    func write(_ block: ControlBlock, _ position: Int) { nc_tcp_set_mark(block, UInt(position) << 2 | rawValue) }
  }

  // MARK: The hash table

  private func insert(_ block: ControlBlock) {
    if parked >= buckets.count { grow() }
    let index = bucket(block.tuple)
    block.pointee.next = buckets[index]
    buckets[index] = block
    parked += 1
  }

  /// Takes a block out of its bucket; false where it is in none.
  private func remove(_ block: ControlBlock) -> Bool {
    let index = bucket(block.tuple)
    var previous: ControlBlock?
    var next = buckets[index]
    while let current = next {
      if current == block {
        if let previous { previous.pointee.next = block.pointee.next } else { buckets[index] = block.pointee.next }
        block.pointee.next = nil
        parked -= 1
        return true
      }
      previous = current
      next = current.pointee.next
    }
    return false
  }

  private func grow() {
    let old = buckets
    buckets = .allocate(capacity: old.count * 2)
    buckets.initialize(repeating: nil)
    for first in old {
      var next = first
      while let block = next {
        next = block.pointee.next
        let index = bucket(block.tuple)
        block.pointee.next = buckets[index]
        buckets[index] = block
      }
    }
    old.deallocate()
  }

  /// Products of secret-keyed halves, folded: a peer that chooses addresses and ports cannot choose buckets.
  private func bucket(_ tuple: FourTuple) -> Int {
    func mix(_ a: UInt64, _ b: UInt64) -> UInt64 {
      let product = a.multipliedFullWidth(by: b)
      return product.high ^ product.low
    }
    let ports = UInt64(tuple.local.port) << 32 | UInt64(tuple.remote.port) << 8 | UInt64(tuple.interfaceIndex)
    var hash = mix(tuple.remote.address.high ^ secret.0, ports ^ secret.1)
    hash = mix(hash ^ tuple.local.address.high, tuple.remote.address.low ^ secret.1)
    hash = mix(hash ^ tuple.local.address.low, secret.0)
    return Int(truncatingIfNeeded: hash) & (buckets.count - 1)
  }
}

extension ControlBlock {
  var tuple: FourTuple {
    FourTuple(
      interfaceIndex: pointee.netif_idx,
      local: Endpoint(address: IPAddress(&pointee.local_ip), port: pointee.local_port),
      remote: Endpoint(address: IPAddress(&pointee.remote_ip), port: pointee.remote_port))
  }

  func isBetween(_ tuple: FourTuple) -> Bool {
    pointee.remote_port == tuple.remote.port && pointee.local_port == tuple.local.port
      && pointee.netif_idx == tuple.interfaceIndex && IPAddress(&pointee.remote_ip) == tuple.remote.address
      && IPAddress(&pointee.local_ip) == tuple.local.address
  }
}
