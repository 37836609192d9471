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
    message.initialize(to: msghdr())
    message.pointee.msg_iov = vectors.baseAddress
    slots.append(Slot(message: message, vectors: vectors))
    return slots.count - 1
  }

  mutating func give(back index: Int) { free.append(index) }

  func setVectorCount(_ count: Int, of index: Int) { slots[index].message.pointee.msg_iovlen = count }

  subscript(index: Int) -> Slot { slots[index] }
}
