internal import CUring
internal import Glibc

/// Buffers that the kernel picks from when data arrives (a provided-buffer ring, Linux 5.19), counted by reference.
///
/// Theory of operation: only `ringDepth` buffers are in the kernel's hands at a time; the rest lie on a stack. Buffers
/// that come back go on top and are provided again first, so the working set stays as small as the traffic needs and
/// stays in the cache, while the pool may be large. A received buffer starts with one reference; whoever keeps a part
/// of it retains the buffer that holds the address, and the last release gives it back.
public final class BufferPool {
  private let ring: Ring
  private let memory: UnsafeMutableRawPointer
  private let memoryBytes: Int
  private let bufferRing: UnsafeMutablePointer<io_uring_buf_ring>
  private let bufferRingBytes: Int
  private let ringMask: Int32
  private var free: [UInt16]
  private var references: [UInt32]
  private var providedCount = 0
  private let ringDepth: Int
  let group: UInt16
  /// Between the starts of two buffers: a page more than they hold, so that the end of one never adjoins the next. lwIP
  /// joins pieces that are adjacent in memory, and a piece must lie in one buffer, whose references keep it.
  private let stride: Int
  /// The size of each buffer.
  public let bufferBytes: Int
  /// How many buffers there are.
  public let bufferCount: Int

  /// Maps the memory (touched only as it is used) and registers the ring.
  /// - Parameters:
  ///   - group: a number of its own for each pool of a ring.
  ///   - count: buffers, at most 32,768.
  ///   - ringDepth: buffers in the kernel's hands at a time, a power of two, at most `count`.
  /// - Throws: `RingError` where memory or the registration fails.
  public init(ring: Ring, group: UInt16, bufferBytes: Int, count: Int, ringDepth: Int) throws(RingError) {
    precondition(count <= 32_768 && ringDepth <= count && ringDepth & (ringDepth - 1) == 0)
    self.ring = ring
    self.group = group
    self.bufferBytes = bufferBytes
    self.ringDepth = ringDepth
    bufferCount = count
    stride = bufferBytes + 4096
    memoryBytes = stride * count
    bufferRingBytes = max(4096, ringDepth * MemoryLayout<io_uring_buf>.stride)
    let flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE
    guard let memory = mmap(nil, memoryBytes, PROT_READ | PROT_WRITE, flags, -1, 0), memory != MAP_FAILED,
      let table = mmap(nil, bufferRingBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0),
      table != MAP_FAILED
    else { throw RingError("memory for \(count) buffers cannot be mapped", code: ENOMEM) }
    self.memory = memory
    bufferRing = table.bindMemory(to: io_uring_buf_ring.self, capacity: 1)
    var registration = io_uring_buf_reg()
    registration.ring_addr = UInt64(UInt(bitPattern: table))
    registration.ring_entries = UInt32(ringDepth)
    registration.bgid = group
    let status = io_uring_register_buf_ring(ring.raw, &registration, 0)
    guard status == 0 else {
      munmap(memory, memoryBytes)
      munmap(table, bufferRingBytes)
      throw RingError("a provided-buffer ring cannot be registered (Linux 5.19)", code: -status)
    }
    io_uring_buf_ring_init(bufferRing)
    ringMask = io_uring_buf_ring_mask(UInt32(ringDepth))
    free = (0..<UInt16(count)).reversed()
    references = Array(repeating: 0, count: count)
    replenish()
  }

  deinit {
    io_uring_unregister_buf_ring(ring.raw, Int32(group))
    munmap(bufferRing, bufferRingBytes)
    munmap(memory, memoryBytes)
  }

  /// Buffers that neither the kernel nor anybody else holds.
  public var freeCount: Int { free.count }

  /// Whether the kernel has none left: an operation that picks a buffer would fail at once with ENOBUFS.
  public var isExhausted: Bool { providedCount == 0 }

  /// The memory of a buffer, `bufferBytes` long.
  public func address(_ index: Int) -> UnsafeMutableRawPointer { memory + index * stride }

  /// The buffer that holds `address`, or nil where the address is not of this pool.
  public func index(holding address: UnsafeRawPointer) -> Int? {
    let offset = address - UnsafeRawPointer(memory)
    return offset >= 0 && offset < memoryBytes ? offset / stride : nil
  }

  /// Takes over a buffer named by a completion, with one reference.
  public func take(_ index: Int) {
    providedCount -= 1
    references[index] = 1
  }

  /// A buffer for the caller's own use, with one reference; nil where none is free.
  public func acquire() -> Int? {
    guard let index = free.popLast() else { return nil }
    references[Int(index)] = 1
    return Int(index)
  }

  public func retain(_ index: Int) { references[index] += 1 }

  /// Gives back one reference; the last one frees the buffer for the kernel.
  public func release(_ index: Int) {
    precondition(references[index] > 0, "a buffer was released more often than retained")
    references[index] -= 1
    if references[index] == 0 { free.append(UInt16(index)) }
  }

  /// Fills the kernel's ring from the free buffers. Once per turn of the loop.
  /// - Parameter depth: how many the kernel is to have, if less than the ring holds: it takes them in turn, so where all are filled
  ///   their memory had better fit into a cache.
  public func replenish(upTo depth: Int = .max) {
    var added: Int32 = 0
    while providedCount < min(ringDepth, depth), let index = free.popLast() {
      io_uring_buf_ring_add(
        bufferRing, address(Int(index)), UInt32(bufferBytes), index, ringMask, added)
      added += 1
      providedCount += 1
    }
    if added > 0 { io_uring_buf_ring_advance(bufferRing, added) }
  }
}
