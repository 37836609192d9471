internal import Frames
internal import Glibc
internal import Slab
internal import UringLoop

/// What io_uring costs: NOPs prepared, submitted in one call, and their completions taken.
final class RingBatch: Workload {
  private let ring: Ring
  private let operations: Int
  private var expected = 0
  private var completed = 0
  private var sum: UInt64 = 0

  init(operations: Int) throws {
    self.operations = operations
    ring = try Ring(entries: 256)
  }

  func run(_ count: Int) {
    for _ in 0..<count {
      for index in 0..<operations {
        ring.prepareNop(token: Token(kind: 1, operation: 0, owner: UInt64(index)))
      }
      expected += operations
      while completed < expected {
        ring.submitAndWait(nanoseconds: nil)
        ring.drain { completion in
          completed += 1
          sum += completion.token.owner
        }
      }
    }
  }

  func verify() throws {
    guard completed == expected, sum == UInt64(expected / operations * (operations * (operations - 1) / 2)) else {
      throw WorkloadError("\(completed) of \(expected) operations completed, or with other tokens")
    }
  }
}

/// State as the daemon keeps it: a slot, an access through its key, the end.
final class SlabCycle: Workload {
  private struct Slot {
    var value: UInt64
    var padding: (UInt64, UInt64, UInt64) = (0, 0, 0)
  }
  private var slab = Slab<Slot>(capacity: 4096)
  private var sum: UInt64 = 0
  private var expected: UInt64 = 0
  private var stale = 0

  init() { for index in 0..<1000 { _ = slab.insert(Slot(value: UInt64(index))) } }

  func run(_ count: Int) {
    for index in 0..<count {
      guard let key = slab.insert(Slot(value: UInt64(index))) else { return }
      sum &+= slab.pointer(key)?.pointee.value ?? 0
      _ = slab.remove(key)
      if slab.pointer(key) != nil { stale += 1 }
      expected &+= UInt64(index)
    }
  }

  func verify() throws {
    guard slab.count == 1000, sum == expected, stale == 0 else {
      throw WorkloadError("the slab holds \(slab.count), sum \(sum), \(stale) stale keys were found")
    }
  }
}

/// RFC 1071 over a buffer.
final class Checksum: Workload {
  private let buffer: UnsafeMutableRawBufferPointer
  private var last: UInt16 = 0

  init(bytes: Int) {
    buffer = .allocate(byteCount: bytes, alignment: 64)
    for index in buffer.indices { buffer[index] = UInt8(truncatingIfNeeded: index &* 131) }
  }

  deinit { buffer.deallocate() }

  func run(_ count: Int) {
    for index in 0..<count {
      buffer[0] = UInt8(truncatingIfNeeded: index)  // so that no two sums are the same work
      last = InternetChecksum.sum(UnsafeRawBufferPointer(buffer))
    }
  }

  func verify() throws {
    var sum: UInt64 = 0
    for index in stride(from: 0, to: buffer.count, by: 2) {
      sum += UInt64(buffer[index]) << 8 + UInt64(index + 1 < buffer.count ? buffer[index + 1] : 0)
    }
    while sum > 0xffff { sum = sum & 0xffff + sum >> 16 }
    guard last == UInt16(sum) else { throw WorkloadError("checksum \(last) instead of \(sum)") }
  }
}

/// The hop from a frame's memory to the app: a list of pieces, one sendmsg of the ring, and the app's read.
final class FrameHop: Workload, FrameSource {
  private static let pieceBytes = 1460
  private static let pieces = 44

  let isScarce = false
  private let ring: Ring
  private let frames = FramePool(limit: 16)
  private let memory: UnsafeMutableRawBufferPointer
  private let received: UnsafeMutableRawBufferPointer
  private var ends: [Int32] = [-1, -1]
  private let message: UnsafeMutablePointer<msghdr>
  private var problem: String?

  init() throws {
    ring = try Ring(entries: 8)
    memory = .allocate(byteCount: FrameHop.pieceBytes * FrameHop.pieces, alignment: 4096)
    received = .allocate(byteCount: memory.count, alignment: 4096)
    for index in memory.indices { memory[index] = UInt8(truncatingIfNeeded: index &* 31 >> 3) }
    message = .allocate(capacity: 1)
    message.initialize(to: msghdr())
    guard socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0, &ends) == 0 else {
      throw WorkloadError("no socketpair: errno \(errno)")
    }
    var bytes: Int32 = 1 << 20
    setsockopt(ends[0], SOL_SOCKET, SO_SNDBUF, &bytes, socklen_t(MemoryLayout<Int32>.size))
  }

  deinit {
    for end in ends { close(end) }
    memory.deallocate()
    received.deallocate()
    message.deallocate()
  }

  func frameReleased(_ frame: Frame) {}

  func run(_ count: Int) {
    for _ in 0..<count {
      guard problem == nil, let frame = frames.make(source: self), let base = memory.baseAddress else { return }
      for piece in 0..<FrameHop.pieces {
        _ = frame.append(base + piece * FrameHop.pieceBytes, count: FrameHop.pieceBytes)
      }
      message.pointee.msg_iov = frame.vectors
      message.pointee.msg_iovlen = frame.count
      ring.prepareSend(ends[0], message, token: Token(kind: 1, operation: 0, owner: 0))
      ring.submitAndWait(nanoseconds: nil)
      var sent = 0
      ring.drain { sent += Int($0.result) }
      var got = 0
      while got < sent {
        let step = read(ends[1], received.baseAddress.map { $0 + got }, received.count - got)
        guard step > 0 else { break }
        got += step
      }
      if got != memory.count { problem = "\(sent) bytes sent and \(got) received of \(memory.count)" }
      frame.release()
    }
  }

  func verify() throws {
    if let problem { throw WorkloadError(problem) }
    guard memory.elementsEqual(received), frames.liveCount == 0 else { throw WorkloadError("other bytes arrived") }
  }
}
