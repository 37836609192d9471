internal import Frames
internal import HeapModule
internal import UringLoop

/// One direction of an impaired link: decides the fate of each packet, and holds those that wait.
///
/// Theory of operation: a frame is taken as the packets that a wire would carry (`WirePackets`). Packets wait as parcels,
/// ordered by when they are due, then by when they came. A parcel is a run of packets of one frame, which is kept by
/// reference, or a copy: of small frames, so that an acknowledgement does not pin a buffer of 64 KiB; of all, where buffers
/// or frames run short; and of packets with a flipped bit. A copy has the frame's `OffloadHeader` in front. What leaves at
/// the same time and was one frame leaves as one frame again, so packets without a fate of their own cost next to nothing.
final class ImpairedPath: FrameSource {
  private struct Parcel: Comparable {
    enum Content {
      case lent(Unmanaged<Frame>)
      case copy(UnsafeMutableRawPointer)
    }
    let due: UInt64
    let order: UInt64
    let content: Content
    /// Which packets of the lent frame.
    var run: Range<Int>

    static func < (one: Parcel, other: Parcel) -> Bool { (one.due, one.order) < (other.due, other.order) }
    static func == (one: Parcel, other: Parcel) -> Bool { one.order == other.order }
  }

  /// Frames up to this size are copied while they wait.
  private static let copybreakBytes = 2048
  /// In front of a copy: the offload header, and the count of bytes.
  private static let copyHeaderBytes = 16
  /// Frames let go in one call, so that a full path cannot keep the loop from its completions.
  private static let burst = 256

  private let impairment: Impairment
  private var generator: SplitMix64
  private let forward: (Frame) -> Bool
  private var frames: FramePool?
  private var receivePool: BufferPool?
  private var waiting = Heap<Parcel>()
  private var waitingPackets = 0
  private var order: UInt64 = 0
  /// When the last packet will have passed a wire of `Impairment.bitsPerSecond`.
  private var wireIsFree: UInt64 = 0
  /// A frame that the link had no room for: the first to go when it has.
  private var refused: Frame?
  private(set) var isRunning = false
  private(set) var counters = ImpairmentCounters()

  /// - Parameters:
  ///   - stream: tells the two directions of one seed apart.
  ///   - forward: takes a frame on, retaining it as long as it needs; false where there is no room now (`resume`).
  init(_ impairment: Impairment, stream: UInt64, forward: @escaping (Frame) -> Bool) {
    self.impairment = impairment
    self.forward = forward
    generator = SplitMix64(seed: impairment.seed ?? .random(in: .min ... .max))
    generator = SplitMix64(seed: generator.next() ^ stream &* 0xd134_2543_de82_ef95)
  }

  func start(_ context: LinkContext) {
    frames = context.frames
    receivePool = context.receivePool
    isRunning = true
  }

  /// The link takes nothing more before `resume`.
  var isBlocked: Bool { refused != nil }
  /// Packets may have to wait.
  var delays: Bool { impairment.delays }
  /// When `release` has work: nanoseconds; nil for never, or not before `resume`.
  var deadline: UInt64? { isBlocked ? nil : waiting.min?.due }

  // MARK: In

  /// Takes a frame, retaining what it keeps, and lets go what is due.
  func admit(_ frame: Frame, now: UInt64) {
    guard isRunning else { return }
    let packets = WirePackets(frame)
    var run: (due: UInt64, packets: Range<Int>)?
    var parcels = 0
    func pushRun() {
      guard let (due, range) = run.take() else { return }
      parcels += 1
      frame.retain()
      push(due, .lent(.passUnretained(frame)), range)
    }
    for index in 0..<packets.count {
      counters.packets += 1
      let isDoubled = generator.hits(impairment.duplicate)
      if isDoubled { counters.duplicated += 1 }
      for _ in 0..<(isDoubled ? 2 : 1) {
        guard let (due, isCorrupt) = decide(bytes: packets.bytes(of: index..<index + 1), now: now) else { continue }
        let own = index..<index + 1
        if let copy = isCorrupt
          ? spoiltCopy(own, of: packets) : due > now && mustCopy(frame) ? copy(own, of: packets) : nil
        {
          pushRun()
          push(due, .copy(copy), own)
        } else if let (runDue, range) = run, runDue == due, range.upperBound == index {
          run = (due, range.lowerBound..<index + 1)
        } else {
          pushRun()
          run = (due, index..<index + 1)
        }
      }
    }
    pushRun()
    if parcels > 1 { frame.isExclusive = false }
    release(now: now)
  }

  /// One packet's fate: when it is due, and whether a bit of it flips; nil where it is lost. The random numbers are taken
  /// in the same order for each packet.
  private func decide(bytes: Int, now: UInt64) -> (due: UInt64, isCorrupt: Bool)? {
    if generator.hits(impairment.loss) {
      counters.lost += 1
      return nil
    }
    let isCorrupt = generator.hits(impairment.corrupt)
    let overtakes = generator.hits(impairment.reorder)
    let jitter = impairment.jitterNanoseconds
    let delay = impairment.delayNanoseconds + (jitter > 0 ? generator.below(2 * jitter + 1) : 0)
    var due = now
    guard impairment.delays, !overtakes else {
      if overtakes, !waiting.isEmpty { counters.reordered += 1 }
      waitingPackets += 1
      return (due, isCorrupt)
    }
    guard waitingPackets < impairment.limit else {
      counters.overLimit += 1
      return nil
    }
    waitingPackets += 1
    if let rate = impairment.bitsPerSecond {
      wireIsFree = max(now, wireIsFree) + UInt64(bytes) * 8_000_000_000 / rate
      due = wireIsFree
    }
    return (due + delay - jitter, isCorrupt)
  }

  private func mustCopy(_ frame: Frame) -> Bool {
    frame.bytes <= Self.copybreakBytes || frame.isScarce || frames?.isScarce == true
  }

  private func push(_ due: UInt64, _ content: Parcel.Content, _ run: Range<Int>) {
    order += 1
    waiting.insert(Parcel(due: due, order: order, content: content, run: run))
  }

  /// A run by itself, as `take` makes a frame of it.
  private func copy(_ run: Range<Int>, of packets: WirePackets) -> UnsafeMutableRawPointer {
    let bytes = packets.bytes(of: run)
    let memory = UnsafeMutableRawPointer.allocate(byteCount: Self.copyHeaderBytes + bytes, alignment: 16)
    packets.copy(run, to: memory + Self.copyHeaderBytes)
    memory.storeBytes(of: packets.offload(of: run), as: OffloadHeader.self)
    memory.storeBytes(of: UInt32(bytes), toByteOffset: 12, as: UInt32.self)
    return memory
  }

  /// The same of one packet, with its checksums complete and then a bit flipped; nil for what has no checksum that could
  /// tell (ARP, say: a wrong address would be believed).
  private func spoiltCopy(_ run: Range<Int>, of packets: WirePackets) -> UnsafeMutableRawPointer? {
    let memory = copy(run, of: packets)
    let packet = UnsafeMutableRawBufferPointer(start: memory + Self.copyHeaderBytes, count: packets.bytes(of: run))
    let range = packet.checkedBytes
    guard !range.isEmpty else {
      memory.deallocate()
      return nil
    }
    packet.finishChecksum(packets.offload(of: run))
    memory.storeBytes(of: OffloadHeader(), as: OffloadHeader.self)
    let bit = generator.below(UInt64(range.count) * 8)
    packet[range.lowerBound + Int(bit / 8)] ^= 1 << UInt8(bit % 8)
    counters.corrupted += 1
    return memory
  }

  // MARK: Out

  /// Lets go what is due.
  func release(now: UInt64) {
    var burst = Self.burst
    while burst > 0, refused == nil, let first = waiting.min, first.due <= now {
      burst -= 1
      var parcel = waiting.removeMin()
      if case .lent(let frame) = parcel.content {
        while let next = waiting.min, next.due <= now, case .lent(let other) = next.content,
          other.toOpaque() == frame.toOpaque(), next.run.lowerBound == parcel.run.upperBound
        {
          waiting.removeMin()
          frame.takeUnretainedValue().release()
          parcel.run = parcel.run.lowerBound..<next.run.upperBound
        }
      }
      waitingPackets -= parcel.run.count
      send(parcel)
    }
  }

  /// The link has room again.
  func resume(now: UInt64) {
    if let frame = refused {
      guard forward(frame) else { return }
      refused = nil
      frame.release()
    }
    release(now: now)
  }

  private func send(_ parcel: Parcel) {
    guard let frame = makeFrame(parcel) else {
      counters.noFrame += UInt64(parcel.run.count)
      return discard(parcel)
    }
    if forward(frame) { frame.release() } else { refused = frame }
  }

  /// A parcel's frame, which takes over its reference or copy; nil where no frame is left.
  private func makeFrame(_ parcel: Parcel) -> Frame? {
    switch parcel.content {
    case .copy(let memory): return makeFrame(copy: memory)
    case .lent(let lent):
      let whole = lent.takeUnretainedValue()
      let packets = WirePackets(whole)
      if parcel.run.count == packets.count { return whole }
      guard packets.pieceCount(of: parcel.run) <= whole.capacity else {
        let copy = copy(parcel.run, of: packets)
        let frame = makeFrame(copy: copy)
        if frame == nil { copy.deallocate() } else { whole.release() }
        return frame
      }
      guard let frame = frames?.make(source: self) else { return nil }
      packets.lend(parcel.run, to: frame)
      frame.tag = 1 + whole.index
      return frame
    }
  }

  private func makeFrame(copy memory: UnsafeMutableRawPointer) -> Frame? {
    guard let frame = frames?.make(source: self) else { return nil }
    frame.context = memory
    frame.offload = memory.load(as: OffloadHeader.self)
    let bytes = Int(memory.load(fromByteOffset: 12, as: UInt32.self))
    _ = frame.append(memory + Self.copyHeaderBytes, count: bytes)
    frame.isExclusive = true
    return frame
  }

  private func discard(_ parcel: Parcel) {
    switch parcel.content {
    case .copy(let memory): memory.deallocate()
    case .lent(let frame): frame.takeUnretainedValue().release()
    }
  }

  /// Ends: what waits is given back.
  func stop() {
    isRunning = false
    refused?.release()
    refused = nil
    while let parcel = waiting.popMin() { discard(parcel) }
    waitingPackets = 0
  }

  // MARK: The frames made here

  func frameReleased(_ frame: Frame) {
    frame.context?.deallocate()
    if frame.tag > 0 { frames?[frame.tag - 1].release() }
  }

  var isScarce: Bool {
    guard let frames, let receivePool else { return false }
    return frames.isScarce || receivePool.freeCount < receivePool.bufferCount / 4
  }
}
