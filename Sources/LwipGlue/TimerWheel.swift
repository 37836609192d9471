internal import Slab

/// Timers of connections, to the millisecond, at a cost that does not depend on how many there are.
///
/// Theory of operation: one slot for each of the next 1,023 milliseconds, with the keys that are due then; a bit for each
/// slot that is not empty. What is due later waits in the last slot and is put again. A timer that is moved back stays
/// where it is, and its owner, when woken, asks for the rest; so an acknowledgement that restarts a timer costs nothing.
/// One that is moved forward is put a second time; its owner knows by the tick which of the two is meant.
struct TimerWheel {
  private static let slotCount: UInt64 = 1024
  private var slots = [[SlabKey]](repeating: [], count: Int(slotCount))
  private var bits = [UInt64](repeating: 0, count: Int(slotCount / 64))
  /// All ticks up to this one are done.
  private var doneTick: UInt64 = 0
  private var count = 0
  /// The next tick with a key; nil for none.
  private(set) var nextTick: UInt64?

  /// Puts `key` at `tick`, or as near before it as there are slots; returns where.
  mutating func put(_ key: SlabKey, at tick: UInt64, now: UInt64) -> UInt64 {
    if count == 0 { doneTick = max(doneTick, now) }
    let tick = min(max(tick, doneTick + 1), doneTick + Self.slotCount - 1)
    let slot = Int(tick % Self.slotCount)
    slots[slot].append(key)
    bits[slot / 64] |= 1 << UInt64(slot % 64)
    count += 1
    nextTick = min(nextTick ?? tick, tick)
    return tick
  }

  /// The first tick with a key behind those that are done; nil for none.
  private var firstTick: UInt64? {
    guard count > 0 else { return nil }
    let first = Int((doneTick + 1) % Self.slotCount)
    var word = bits[first / 64] & (UInt64.max << UInt64(first % 64))
    for step in 0...bits.count {
      let index = (first / 64 + step) % bits.count
      if step > 0 { word = bits[index] }
      if word != 0 {
        let slot = UInt64(index * 64 + word.trailingZeroBitCount)
        return doneTick + 1 + (slot &+ Self.slotCount - UInt64(first)) % Self.slotCount
      }
    }
    return nil
  }

  /// Takes out the keys that are due at `now`, each with the tick it was put at.
  mutating func takeDue(now: UInt64) -> [(key: SlabKey, tick: UInt64)] {
    guard let nextTick, nextTick <= now else {
      doneTick = max(doneTick, now)
      return []
    }
    var due: [(SlabKey, UInt64)] = []
    while let tick = firstTick, tick <= now {
      let slot = Int(tick % Self.slotCount)
      for key in slots[slot] { due.append((key, tick)) }
      count -= slots[slot].count
      slots[slot].removeAll(keepingCapacity: true)
      bits[slot / 64] &= ~(1 << UInt64(slot % 64))
      doneTick = tick
    }
    doneTick = max(doneTick, now)
    self.nextTick = firstTick
    return due
  }
}
