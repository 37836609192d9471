internal import CSocket
internal import Glibc

/// Messages for sends under way: an idle socket holds none.
struct SendSlots {
  /// Pieces of one send to an app; a burst of MTU-sized frames fills them, a super-segment takes one or two.
  static let vectorCount = 64

  struct Slot {
    let message: UnsafeMutablePointer<msghdr>
    let vectors: UnsafeMutableBufferPointer<iovec>
  }

  private var slots: [Slot] = []
  private var free: [Int] = []

  mutating func take() -> Int {
    if let index = free.popLast() { return index }
    let message = UnsafeMutablePointer<msghdr>.allocate(capacity: 1)
    let vectors = UnsafeMutableBufferPointer<iovec>.allocate(capacity: Self.vectorCount)
    vectors.initialize(repeating: iovec())
    slots.append(Slot(message: message, vectors: vectors))
    return slots.count - 1
  }

  mutating func give(back index: Int) { free.append(index) }

  /// Makes the slot's message one of its first `count` vectors.
  func prepare(_ index: Int, count: Int) {
    nc_message_prepare(slots[index].message, slots[index].vectors.baseAddress, count, nil, 0)
  }

  subscript(index: Int) -> Slot { slots[index] }
}
