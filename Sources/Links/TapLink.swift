public import Frames
internal import Glibc
public import UringLoop

/// A TAP device (`tap:NAME`): the daemon's networks meet the kernel's stack, or a bridge, on this machine.
///
/// Theory of operation: received frames, up to 64 KiB with segmentation offload, are read by one multishot read (Linux
/// 6.7) or a few single ones, each into a buffer of the shared pool that the stack then keeps by reference. Frames to send are
/// written straight from the stack's memory, header first (`Frame.vectorsWithHeader`), by a plain writev(2): TUN takes a
/// frame at once or refuses it, so nothing is gained by the ring, and much is lost: a completion for each frame, which
/// ends the loop's wait for nothing, and a peer that sees the frame only at the turn's end.
public final class TapLink: Link, FrameSource {
  private enum Operation { static let read: UInt8 = 1, cancel: UInt8 = 2 }

  /// Reads under way where the kernel has no multishot read.
  private static let singleReads = 16

  private var device: TapDevice
  private let steering: ReceiveSteering?
  private var context: LinkContext?
  private unowned var delegate: (any LinkDelegate)?
  public private(set) var facts: LinkFacts
  public private(set) var counters = LinkCounters()
  public let name: String
  private var readsWanted = 0
  private var stopped = false

  /// Opens the device.
  /// - Parameters:
  ///   - name: the interface's name.
  ///   - mtu: in bytes; set on the interface where allowed. nil: the interface's own.
  ///   - wantsOffloads: the user takes frames of up to 64 KiB with unfinished checksums.
  /// - Throws: `TapError`, which names the missing privilege or device.
  public init(name: String, mtu: Int?, wantsOffloads: Bool) throws(TapError) {
    let device = try TapDevice(name: name, wantsOffloads: wantsOffloads)
    self.name = "tap:\(name)"
    if let mtu { _ = device.setMTU(mtu) }
    _ = device.lengthenQueue()
    _ = device.bringUp()
    facts = LinkFacts(mtu: mtu ?? device.readMTU() ?? 1500, offloads: device.offloads, isUp: false)
    steering = ReceiveSteering(device)
    self.device = device
  }

  public var isScarce: Bool {
    guard let pool = context?.receivePool else { return false }
    return pool.freeCount < pool.bufferCount / 4
  }

  public func start(_ context: LinkContext, delegate: any LinkDelegate) {
    self.context = context
    self.delegate = delegate
    facts.isUp = true
    readsWanted = context.ring.capabilities.readMultishot ? 1 : Self.singleReads
    armReads()
  }

  private func armReads() {
    guard let context, !stopped else { return }
    while readsWanted > 0 {
      readsWanted -= 1
      if context.ring.capabilities.readMultishot {
        context.ring.prepareReadMultishot(device.fd, from: context.receivePool, token: context.token(Operation.read))
      } else {
        context.ring.prepareRead(device.fd, from: context.receivePool, token: context.token(Operation.read))
      }
    }
  }

  public func complete(operation: UInt8, detail: UInt32, _ completion: Completion) {
    if operation == Operation.read { completeRead(completion) }
  }

  private func completeRead(_ completion: Completion) {
    guard let context else { return }
    if !completion.more {
      readsWanted += 1
      context.attention.isWanted = true
    }
    guard let index = completion.bufferIndex else {
      // Without buffers poll() arms again; with any other error reading is over, or the loop would spin on it.
      let passing = [-ENOBUFS, -EAGAIN, -EINTR, -ECANCELED].contains(completion.result)
      if !passing, completion.result < 0 { stopReading() }
      return
    }
    context.receivePool.take(index)
    let headerBytes = MemoryLayout<OffloadHeader>.size
    let bytes = Int(completion.result) - headerBytes
    guard bytes >= 14, !stopped, let delegate, let frame = context.frames.make(source: self) else {
      if completion.result > 0 { counters.dropped += 1 }
      context.receivePool.release(index)
      return
    }
    let base = context.receivePool.address(index)
    frame.offload = base.loadUnaligned(as: OffloadHeader.self)
    _ = frame.append(base + headerBytes, count: bytes)
    frame.isExclusive = true
    frame.tag = index
    counters.receivedFrames += 1
    counters.receivedBytes += UInt64(bytes)
    delegate.link(self, received: frame)
    frame.release()
  }

  public func frameReleased(_ frame: Frame) { context?.receivePool.release(frame.tag) }

  public func transmit(_ frame: Frame) -> Bool {
    guard context != nil, !stopped else { return false }
    var result: Int
    repeat {
      result = writev(device.fd, frame.vectorsWithHeader, Int32(frame.count + 1))
    } while result < 0 && errno == EINTR
    if result < 0 {
      counters.dropped += 1  // EIO: the interface is down; EINVAL: the kernel refuses the frame; ENOBUFS: no memory
    } else {
      counters.sentFrames += 1
      counters.sentBytes += UInt64(frame.bytes)
    }
    return true
  }

  private func stopReading() {
    readsWanted = 0
    facts.isUp = false
    delegate?.linkChanged(self)
  }

  public func adapt(receivers: Int, senders: Int, now: UInt64) {
    steering?.note(receivedBytes: counters.receivedBytes, receivers: receivers, senders: senders, now: now)
  }

  public func poll() {
    guard readsWanted > 0, facts.isUp, let context else { return }
    if context.receivePool.isExhausted { context.attention.isWanted = true } else { armReads() }
  }

  public func stop() {
    steering?.end()
    stopped = true
    facts.isUp = false
    readsWanted = 0
    if let context {
      context.ring.prepareCancelAll(context.token(Operation.read), token: context.token(Operation.cancel))
    }
    device.release()  // the device itself lives until the reads are cancelled
  }
}
