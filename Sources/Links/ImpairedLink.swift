public import Frames
public import UringLoop

/// A link with faults: packets of the link that it wraps are lost, delayed, doubled, exchanged and spoilt, as on a real path
/// (tc-netem(8) is the model). For programs that are to be tried on a bad network, and for this project's own tests.
///
/// Theory of operation: the wrapper stands between a link and its network, as the link's delegate and the network's link.
/// Each direction has a path of its own (`ImpairedPath`), or none where it is not impaired. Nothing is decided for a frame
/// that the link has no room for: it is refused, as by the link itself, so back pressure passes through. What is due is
/// let go by `expire`, for which the loop wakes at `deadline`, to the microsecond as far as the machine does.
public final class ImpairedLink: Link, LinkDelegate {
  private let wire: any Link
  private let inbound: ImpairedPath?
  private let outbound: ImpairedPath?
  private let clock: () -> UInt64
  private let relay: Relay
  private var attention: LinkAttention?
  private var refusedSomeone = false

  /// Who hears of received frames; apart from the link, which the path's closure must not keep alive.
  private final class Relay {
    unowned var delegate: (any LinkDelegate)?
    unowned var link: (any Link)?
  }

  /// Wraps a link that is not started.
  /// - Parameters:
  ///   - inbound: of what the wire brings; nil: nothing befalls it.
  ///   - outbound: of what is sent.
  ///   - clock: monotonic nanoseconds, for tests.
  public init(
    _ wire: any Link, inbound: Impairment?, outbound: Impairment?,
    clock: @escaping () -> UInt64 = monotonicNanoseconds
  ) {
    self.wire = wire
    self.clock = clock
    let relay = Relay()
    self.relay = relay
    self.inbound = inbound.map {
      ImpairedPath($0, stream: 1) { frame in
        if let link = relay.link { relay.delegate?.link(link, received: frame) }
        return true
      }
    }
    self.outbound = outbound.map { ImpairedPath($0, stream: 2) { wire.transmit($0) } }
  }

  public var name: String { wire.name }
  public var facts: LinkFacts { wire.facts }
  /// Nil for a direction that is not impaired.
  public var inboundCounters: ImpairmentCounters? { inbound?.counters }
  public var outboundCounters: ImpairmentCounters? { outbound?.counters }

  public func adapt(receivers: Int, senders: Int, now: UInt64) {
    wire.adapt(receivers: receivers, senders: senders, now: now)
  }

  /// The wire's, with what was dropped for want of room.
  public var counters: LinkCounters {
    var counters = wire.counters
    for path in [inbound, outbound] {
      if let path { counters.dropped += path.counters.overLimit + path.counters.noFrame }
    }
    return counters
  }

  public func start(_ context: LinkContext, delegate: any LinkDelegate) {
    relay.delegate = delegate
    relay.link = self
    attention = context.attention
    inbound?.start(context)
    outbound?.start(context)
    wire.start(context, delegate: self)
  }

  public var keepsFrames: Bool { wire.keepsFrames || outbound?.delays == true }

  public func transmit(_ frame: Frame) -> Bool {
    guard let outbound else { return wire.transmit(frame) }
    guard outbound.isRunning else { return false }
    guard !outbound.isBlocked else {
      refusedSomeone = true
      return false
    }
    outbound.admit(frame, now: clock())
    attention?.isWanted = true
    return true
  }

  public var deadline: UInt64? {
    var earliest = wire.deadline
    if let due = inbound?.deadline { earliest = min(earliest ?? due, due) }
    if let due = outbound?.deadline { earliest = min(earliest ?? due, due) }
    return earliest
  }

  public func expire(now: UInt64) {
    if let deadline = wire.deadline, deadline <= now { wire.expire(now: now) }
    outbound?.release(now: now)
    inbound?.release(now: now)
  }

  public func complete(operation: UInt8, detail: UInt32, _ completion: Completion) {
    wire.complete(operation: operation, detail: detail, completion)
  }

  public func poll() { wire.poll() }
  public var isPending: Bool { wire.isPending }

  /// What waits is lost.
  public func stop() {
    wire.stop()
    inbound?.stop()
    outbound?.stop()
  }

  // MARK: The wire's delegate

  public func link(_ link: any Link, received frame: Frame) {
    if let inbound {
      inbound.admit(frame, now: clock())
      attention?.isWanted = true
    } else {
      relay.delegate?.link(self, received: frame)
    }
  }

  public func linkChanged(_ link: any Link) { relay.delegate?.linkChanged(self) }

  public func linkReady(_ link: any Link) {
    guard let outbound else {
      relay.delegate?.linkReady(self)
      return
    }
    outbound.resume(now: clock())
    attention?.isWanted = true
    guard !outbound.isBlocked, refusedSomeone else { return }
    refusedSomeone = false
    relay.delegate?.linkReady(self)
  }
}
