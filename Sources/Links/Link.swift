public import Frames
public import UringLoop

/// What a link does for its users beyond carrying frames.
public struct LinkOffloads: OptionSet, Sendable {
  public let rawValue: UInt8
  public init(rawValue: UInt8) { self.rawValue = rawValue }
  /// Finishes checksums that a frame's `OffloadHeader` leaves open, and vouches for those of received frames.
  public static let checksum = LinkOffloads(rawValue: 1)  // TUN_F_CSUM
  /// Cuts a TCP/IPv4 frame of up to 64 KiB into segments, and delivers such frames.
  public static let segmentationTCPv4 = LinkOffloads(rawValue: 2)  // TUN_F_TSO4
  /// The same for TCP/IPv6.
  public static let segmentationTCPv6 = LinkOffloads(rawValue: 4)  // TUN_F_TSO6
  public static let all: LinkOffloads = [.checksum, .segmentationTCPv4, .segmentationTCPv6]
}

/// An address or a route that a link learned: network order bytes (4 or 16) and the prefix's length in bits.
public struct LinkAddress: Hashable, Sendable {
  public let bytes: [UInt8]
  public let prefixBits: Int
  public init(bytes: [UInt8], prefixBits: Int) {
    self.bytes = bytes
    self.prefixBits = prefixBits
  }
}

/// What is true of a link now. A link whose controller assigns addresses changes them while it runs.
public struct LinkFacts: Sendable, Equatable {
  /// The largest IP packet a wire frame carries, in bytes.
  public var mtu: Int
  public var offloads: LinkOffloads
  /// Whether frames pass.
  public var isUp: Bool
  /// Addresses that the link assigns to its user, beside those of the configuration.
  public var addresses: [LinkAddress] = []
  /// Destinations with their next hop (nil: on the link).
  public var routes: [Route] = []

  public struct Route: Sendable, Equatable {
    public var destination: LinkAddress
    public var gateway: [UInt8]?
    public init(destination: LinkAddress, gateway: [UInt8]?) {
      self.destination = destination
      self.gateway = gateway
    }
  }

  public init(mtu: Int, offloads: LinkOffloads, isUp: Bool) {
    self.mtu = mtu
    self.offloads = offloads
    self.isUp = isUp
  }
}

/// Who uses a link: the network whose frames it carries.
public protocol LinkDelegate: AnyObject {
  /// A frame arrived. The delegate retains it if it keeps any part.
  func link(_ link: any Link, received frame: Frame)
  /// The link's facts are others now.
  func linkChanged(_ link: any Link)
  /// The link takes frames again after it refused one.
  func linkReady(_ link: any Link)
}

/// By which links tell their loop that there is something to do, so that a turn costs nothing for those that are quiet.
public final class LinkAttention {
  /// A link has something for `poll`, or another `deadline`. Set by links, and cleared by the loop before it looks at them.
  public var isWanted = false
  public init() {}
}

/// What a link gets from the loop it runs in. (A class: a link takes it out of an Optional for each frame.)
public final class LinkContext {
  public let ring: Ring
  /// Buffers for whole received frames, one frame each.
  public let receivePool: BufferPool
  public let frames: FramePool
  public let attention: LinkAttention
  let kind: UInt8
  let number: UInt16

  /// - Parameters:
  ///   - kind: the token kind that the loop's switch sends to `Link.complete`.
  ///   - number: which link, in the owner's high 16 bits.
  ///   - attention: one for all links of a loop.
  public init(
    ring: Ring, receivePool: BufferPool, frames: FramePool, kind: UInt8, number: UInt16, attention: LinkAttention
  ) {
    self.ring = ring
    self.receivePool = receivePool
    self.frames = frames
    self.attention = attention
    self.kind = kind
    self.number = number
  }

  /// A token that comes back to this link with `operation` and `detail`.
  public func token(_ operation: UInt8, detail: UInt32 = 0) -> Token {
    Token(kind: kind, operation: operation, owner: UInt64(number) << 32 | UInt64(detail))
  }
}

/// Frames in and out, dropped and refused, since the link started.
public struct LinkCounters: Sendable, Equatable {
  public var receivedFrames: UInt64 = 0
  public var receivedBytes: UInt64 = 0
  public var sentFrames: UInt64 = 0
  public var sentBytes: UInt64 = 0
  /// Frames lost because a queue was full or the device refused them.
  public var dropped: UInt64 = 0
  public init() {}
}

/// Something that carries Ethernet frames: a TAP, a port of a hub, later a node of an overlay network.
///
/// A link is driven by its loop only: `complete` for each completion of its own operations, `expire` once its
/// `deadline` has passed, `poll` for work that needs no kernel. The loop asks for `deadline` and `isPending`, and polls, only after a
/// link has set its context's `attention`, and as long as one is pending. A link may own descriptors, sockets among
/// them, and prepare any operation on the ring with tokens of its context.
public protocol Link: AnyObject {
  /// As the configuration names it: `tap:NAME`, `hub:NAME`.
  var name: String { get }
  var facts: LinkFacts { get }
  var counters: LinkCounters { get }
  /// When `expire` wants to be called: monotonic nanoseconds, nil for never.
  var deadline: UInt64? { get }

  /// Begins to carry frames.
  func start(_ context: LinkContext, delegate: any LinkDelegate)
  /// Takes a frame to send (retaining it as long as it needs); false where the link is full: nothing was taken, and the
  /// delegate hears `linkReady` later.
  func transmit(_ frame: Frame) -> Bool
  /// Frames are held for long after `transmit`: receivers read them in place.
  var keepsFrames: Bool { get }
  /// One of the link's own operations completed.
  func complete(operation: UInt8, detail: UInt32, _ completion: Completion)
  /// The deadline has passed.
  func expire(now: UInt64)
  /// Told once a millisecond, while the loop does something, how many connections receive or send much at present, for a link that
  /// can do its work in several ways.
  func adapt(receivers: Int, senders: Int, now: UInt64)
  /// Does what is waiting inside the link, up to a bounded amount.
  func poll()
  /// Something waits for `poll` now: the loop must not sleep.
  var isPending: Bool { get }
  /// Sends nothing more and cancels what is under way; completions may still arrive.
  func stop()
}

extension Link {
  public var deadline: UInt64? { nil }
  public func expire(now: UInt64) {}
  public var keepsFrames: Bool { false }
  public func adapt(receivers: Int, senders: Int, now: UInt64) {}
  public func poll() {}
  public var isPending: Bool { false }
  public func complete(operation: UInt8, detail: UInt32, _ completion: Completion) {}
}
