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
  /// Ticks in which all watched blocks are visited once: a second's worth (TCP_SLOW_INTERVAL is 50 ms).
  private static let watchSlices = 20

  /// Those that are presented are not among them.
  private var buckets = ControlBlockBuckets()
  private var busy: [ControlBlock] = []
  private var watched: [ControlBlock] = []
  private var watchPosition = 0
  private let isOutside = Stack.isSourceBuild

  /// Blocks outside of lwIP's list; those with work for the timers; those that wait for nothing but a keepalive probe.
  var count: Int { buckets.count }
  var busyCount: Int { busy.count }
  var watchedCount: Int { watched.count }

  // MARK: Finding

  /// The block of a connection; nil where there is none. Blocks that are presented are found too.
  func find(_ tuple: FourTuple) -> ControlBlock? {
    nc_tcp_active_pcbs().flatMap { $0.search(tuple) } ?? (isOutside ? buckets.find(tuple) : nil)
  }

  /// All blocks, in no order: linear in their number.
  func contains(where condition: (ControlBlock) -> Bool) -> Bool {
    nc_tcp_active_pcbs()?.contains(where: condition) ?? false || buckets.contains(where: condition)
  }

  /// Visits blocks that have work for the timers; `body` may end the one that it is given, and no other.
  func forEachBusy(_ body: (ControlBlock) -> Void) {
    guard isOutside else { return forEachActive(body) }
    // Backwards: one that ends is replaced by the last, which has been visited.
    for position in busy.indices.reversed() where position < busy.count { body(busy[position]) }
  }

  /// Visits what is on lwIP's list; `body` may end the one that it is given, and no other.
  func forEachActive(_ body: (ControlBlock) -> Void) {
    _ = nc_tcp_active_pcbs()?.contains {
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

  /// Puts the block of a segment that is about to enter lwIP on its list; false where there is none.
  func present(_ tuple: FourTuple) -> Bool {
    guard isOutside, let block = buckets.find(tuple) else { return false }
    present(block)
    return true
  }

  func present(_ block: ControlBlock) {
    guard isOutside, buckets.remove(block) else { return }
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
    buckets.removeAll(nc_tcp_put_active)
  }

  /// Takes over whatever is on lwIP's list.
  func park() {
    guard isOutside else { return }
    while let block = nc_tcp_take_active() {
      buckets.insert(block)
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
}
