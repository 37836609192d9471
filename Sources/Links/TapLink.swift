public import Frames
internal import Glibc
public import UringLoop

/// A TAP device (`tap:NAME`): the daemon's networks meet the kernel's stack, or a bridge, on this machine.
///
/// Theory of operation: received frames, up to 64 KiB with segmentation offload, are read by one multishot read (Linux
/// 6.7) or a few single ones, each into a buffer of the shared pool that the stack then keeps by reference. Frames to send are
/// written straight from the stack's memory, header first (`Frame.vectorsWithHeader`), all of a turn in one submission;
/// TUN takes a write at once or refuses it, so order is kept.
public final class TapLink: Link, FrameSource {
  private enum Operation { static let read: UInt8 = 1, write: UInt8 = 2 }

  /// Frames handed to the kernel and not yet completed; a turn rarely has more.
  private static let transmitLimit = 512
  /// Reads under way where the kernel has no multishot read.
  private static let singleReads = 16

  private let device: TapDevice
  private var context: LinkContext?
  private unowned var delegate: (any LinkDelegate)?
  public private(set) var facts: LinkFacts
  public private(set) var counters = LinkCounters()
  public let name: String
  private var inFlight = 0
  private var refusedSomeone = false
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
    if operation == Operation.write {
      completeWrite(frame: Int(detail), completion.result)
    } else {
      completeRead(completion)
    }
  }

  private func completeRead(_ completion: Completion) {
    guard let context else { return }
    if !completion.more { readsWanted += 1 }
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
    guard let context, !stopped else { return false }
    guard inFlight < Self.transmitLimit else {
      refusedSomeone = true
      return false
    }
    inFlight += 1
    frame.retain()
    context.ring.prepareWrite(
      device.fd, frame.vectorsWithHeader, count: frame.count + 1,
      token: context.token(Operation.write, detail: UInt32(frame.index)))
    return true
  }

  private func completeWrite(frame index: Int, _ result: Int32) {
    guard let context else { return }
    let frame = context.frames[index]
    if result < 0 {
      counters.dropped += 1  // EIO: the interface is down; EINVAL: the kernel refuses the frame
    } else {
      counters.sentFrames += 1
      counters.sentBytes += UInt64(frame.bytes)
    }
    inFlight -= 1
    frame.release()
    if refusedSomeone, inFlight < Self.transmitLimit / 2 {
      refusedSomeone = false
      delegate?.linkReady(self)
    }
  }

  private func stopReading() {
    readsWanted = 0
    facts.isUp = false
    delegate?.linkChanged(self)
  }

  public func poll() {
    if readsWanted > 0, facts.isUp, let context, !context.receivePool.isExhausted { armReads() }
  }

  public func stop() {
    stopped = true
    facts.isUp = false
  }
}
