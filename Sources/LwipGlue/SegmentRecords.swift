/// What is known of a run of sequence numbers that was sent and is not acknowledged yet.
struct SegmentRecord {
  struct State: OptionSet {
    let rawValue: UInt8
    /// The peer has it (RFC 2018); it may still take that back.
    static let selected = State(rawValue: 1)
    /// Taken for lost, and not sent again since.
    static let lost = State(rawValue: 2)
    /// Was sent more than once: an acknowledgement does not say of which time.
    static let resent = State(rawValue: 4)
  }

  /// From `start` up to, not including, `end`.
  var start: UInt32
  var end: UInt32
  /// When it was last sent.
  var sentMicroseconds: UInt64
  fileprivate(set) var previous: UInt32 = SegmentRecords.none
  fileprivate(set) var next: UInt32 = SegmentRecords.none
  var state: State = []

  var count: Int { Int(end &- start) }
}

/// One connection's records, in the order of their sequence numbers and without gaps.
struct RecordList {
  fileprivate(set) var first = SegmentRecords.none
  fileprivate(set) var last = SegmentRecords.none
  fileprivate(set) var count = 0
  var isEmpty: Bool { first == SegmentRecords.none }
}

/// The records of all connections: slots of one array, linked per connection, so that a connection with nothing in flight
/// holds none. A segment is one record, however large, until an acknowledgement of a part of it cuts it.
final class SegmentRecords {
  static let none = UInt32.max
  /// Of one connection. A peer that acknowledges every other byte gets no more than this: further cuts are refused, and
  /// what it says of such a part is not heeded.
  static let connectionLimit = 4096
  /// Of all: 32 MiB.
  private static let totalLimit = 1 << 20

  private var slots: UnsafeMutablePointer<SegmentRecord>
  private var capacity = 1024
  private var usedCount = 0
  private var firstFree = SegmentRecords.none
  private(set) var liveCount = 0

  init() { slots = .allocate(capacity: capacity) }
  deinit { slots.deallocate() }

  subscript(_ index: UInt32) -> SegmentRecord {
    @inline(__always) unsafeAddress { UnsafePointer(slots + Int(index)) }
    @inline(__always) unsafeMutableAddress { slots + Int(index) }
  }

  private func take() -> UInt32? {
    if firstFree != Self.none {
      let index = firstFree
      firstFree = slots[Int(index)].next
      liveCount += 1
      return index
    }
    if usedCount == capacity {
      guard capacity < Self.totalLimit else { return nil }
      let larger = UnsafeMutablePointer<SegmentRecord>.allocate(capacity: 2 * capacity)
      larger.moveInitialize(from: slots, count: usedCount)
      slots.deallocate()
      slots = larger
      capacity *= 2
    }
    usedCount += 1
    liveCount += 1
    return UInt32(usedCount - 1)
  }

  /// Adds a record behind the last; false where there is no room: the last one then has to stand for it too.
  func append(_ record: SegmentRecord, to list: inout RecordList) -> Bool {
    guard list.count < Self.connectionLimit, let index = take() else { return false }
    (slots + Int(index)).initialize(to: record)
    slots[Int(index)].previous = list.last
    slots[Int(index)].next = Self.none
    if list.last == Self.none { list.first = index } else { slots[Int(list.last)].next = index }
    list.last = index
    list.count += 1
    return true
  }

  /// Cuts the record `index` at `sequence`, which lies inside it: what is before keeps the index. False where there is no
  /// room for one more.
  func cut(_ index: UInt32, at sequence: UInt32, in list: inout RecordList) -> Bool {
    guard list.count < Self.connectionLimit, let added = take() else { return false }
    var rear = slots[Int(index)]
    rear.start = sequence
    rear.previous = index
    (slots + Int(added)).initialize(to: rear)
    slots[Int(index)].end = sequence
    slots[Int(index)].next = added
    if rear.next == Self.none { list.last = added } else { slots[Int(rear.next)].previous = added }
    list.count += 1
    return true
  }

  /// Takes a record out; returns the one behind it.
  @discardableResult
  func remove(_ index: UInt32, from list: inout RecordList) -> UInt32 {
    let record = slots[Int(index)]
    if record.previous == Self.none { list.first = record.next } else { slots[Int(record.previous)].next = record.next }
    if record.next == Self.none {
      list.last = record.previous
    } else {
      slots[Int(record.next)].previous = record.previous
    }
    slots[Int(index)].next = firstFree
    firstFree = index
    list.count -= 1
    liveCount -= 1
    return record.next
  }

  /// Makes two neighbours one, if the peer has both. Returns the index of what holds `index` now.
  func merge(_ index: UInt32, in list: inout RecordList) -> UInt32 {
    let before = slots[Int(index)].previous
    guard before != Self.none, slots[Int(before)].state.contains(.selected), slots[Int(index)].state.contains(.selected)
    else { return index }
    slots[Int(before)].end = slots[Int(index)].end
    remove(index, from: &list)
    return before
  }

  func removeAll(from list: inout RecordList) {
    while list.first != Self.none { remove(list.first, from: &list) }
  }
}
