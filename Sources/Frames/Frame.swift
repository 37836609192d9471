public import Glibc

/// Who lent the memory of a frame, and gets it back.
public protocol FrameSource: AnyObject {
  /// The last reference is gone: nobody reads the frame's memory any more.
  func frameReleased(_ frame: Frame)
  /// Memory runs short: whoever would keep a part of the frame for long had better copy it.
  var isScarce: Bool { get }
}

/// One Ethernet frame, scattered over memory that somebody lends, and what its link has still to do to it.
///
/// Frames come from a `FramePool` and go back to it by themselves when the last reference is released; nothing is
/// allocated per frame. References are counted by hand (`retain`, `release`), because holders are C structures as often
/// as Swift objects. Not thread-safe.
public final class Frame {
  /// The offload header followed by the frame's pieces: what a TAP with IFF_VNET_HDR takes in one writev(2).
  public let vectorsWithHeader: UnsafeMutablePointer<iovec>
  public let capacity: Int
  /// How many pieces the frame has, the offload header not counted.
  public private(set) var count = 0
  /// The bytes of all pieces.
  public private(set) var bytes = 0
  private let header: UnsafeMutablePointer<OffloadHeader>
  /// The receiver may write into the memory: nobody else reads it.
  public var isExclusive = false
  /// For the source's use: which of its things this frame is.
  public var context: UnsafeMutableRawPointer?
  /// For the source's use, and its link's: a number.
  public var tag = 0
  /// The frame's number in its pool.
  public let index: Int
  private unowned let pool: FramePool
  private var source: (any FrameSource)?
  private var references = 0

  init(pool: FramePool, index: Int, capacity: Int) {
    self.pool = pool
    self.index = index
    self.capacity = capacity
    vectorsWithHeader = .allocate(capacity: capacity + 1)
    header = .allocate(capacity: 1)
    header.initialize(to: OffloadHeader())
    vectorsWithHeader.initialize(repeating: iovec(), count: capacity + 1)
    vectorsWithHeader[0] = iovec(iov_base: header, iov_len: MemoryLayout<OffloadHeader>.size)
  }

  deinit {
    vectorsWithHeader.deallocate()
    header.deallocate()
  }

  /// The pieces, in order.
  public var vectors: UnsafeMutablePointer<iovec> { vectorsWithHeader + 1 }

  public var offload: OffloadHeader {
    get { header.pointee }
    set { header.pointee = newValue }
  }

  /// The first piece: it always holds all protocol headers.
  public var head: UnsafeRawBufferPointer {
    UnsafeRawBufferPointer(start: vectors[0].iov_base, count: vectors[0].iov_len)
  }

  /// Adds a piece behind the others; false where the frame has no room for another.
  public func append(_ base: UnsafeMutableRawPointer, count length: Int) -> Bool {
    guard count < capacity else { return false }
    vectors[count] = iovec(iov_base: base, iov_len: length)
    count += 1
    bytes += length
    return true
  }

  /// The source of this frame runs short of memory.
  public var isScarce: Bool { source?.isScarce ?? false }

  func begin(source: any FrameSource) {
    self.source = source
    references = 1
    count = 0
    bytes = 0
    header.pointee = OffloadHeader()
    isExclusive = false
    context = nil
    tag = 0
  }

  public func retain() { references += 1 }

  public func release() {
    precondition(references > 0, "a frame was released more often than retained")
    references -= 1
    guard references == 0 else { return }
    let source = source.take()
    source?.frameReleased(self)
    pool.recycle(self)
  }
}

/// Frames for reuse, and the way from a number back to its frame.
public final class FramePool {
  private var frames: [Frame] = []
  private var free: [Int] = []
  private let piecesPerFrame: Int
  private let limit: Int

  /// - Parameters:
  ///   - limit: the most frames alive at a time.
  ///   - piecesPerFrame: the most pieces of a frame; writev(2) takes 1,024 (IOV_MAX), the offload header among them.
  public init(limit: Int, piecesPerFrame: Int = 128) {
    precondition(piecesPerFrame < 1024)
    self.limit = limit
    self.piecesPerFrame = piecesPerFrame
  }

  /// An empty frame with one reference; nil at the limit.
  public func make(source: any FrameSource) -> Frame? {
    let frame: Frame
    if let index = free.popLast() {
      frame = frames[index]
    } else {
      guard frames.count < limit else { return nil }
      frame = Frame(pool: self, index: frames.count, capacity: piecesPerFrame)
      frames.append(frame)
    }
    frame.begin(source: source)
    return frame
  }

  public subscript(index: Int) -> Frame { frames[index] }

  /// So many frames are held that whoever would keep one had better copy it.
  public var isScarce: Bool { liveCount > limit / 4 }

  /// Frames that somebody holds.
  public var liveCount: Int { frames.count - free.count }

  func recycle(_ frame: Frame) { free.append(frame.index) }
}
