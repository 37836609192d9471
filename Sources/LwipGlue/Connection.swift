internal import CLwip
internal import DequeModule
internal import Slab

/// One TCP connection of lwIP's, with what lwIP does not keep: received bytes the owner has not taken, and memory that
/// segments in flight still refer to.
///
/// Life: made by `Stack.connect` (connecting) or by a listener's accept (established); `failed` clears `pcb`, because
/// lwIP has freed it; the owner ends it with `close` (detached: it lives on only until its memory is acknowledged) or
/// `abort` (gone at once).
struct Connection: ~Copyable {
  /// A piece of the owner's memory that unacknowledged segments read.
  struct Held {
    /// The sequence number behind the last byte that lies in this piece.
    let end: UInt32
    let address: UnsafeRawPointer
  }

  var pcb: UnsafeMutablePointer<tcp_pcb>?
  let interfaceIndex: UInt8
  /// May lwIP build segments larger than the wire's, and for which wire size (bytes of payload)?
  var superSegments = false
  var wireSegmentBytes = 536
  var owner: UInt64
  var isEstablished = false
  var events: StackEvents = []
  /// Why the connection is gone, as a positive errno.
  var error: Int32 = 0
  var isDetached = false
  /// FIN was queued, and FIN was received: lwIP may end the connection at any time, without a word.
  var sentEnd = false
  var receivedEnd = false
  /// When an acknowledgement outside the window was last let through.
  var lastStrayMilliseconds: UInt64 = 0
  /// TCP_USER_TIMEOUT; 0 for none.
  var userTimeoutMilliseconds: UInt32 = 0
  /// When the peer last acknowledged something, or something was first sent after silence.
  var lastProgressMilliseconds: UInt64 = 0
  /// An ICMP error since then: why nothing is acknowledged any more, should it come to that (RFC 1122 section 4.2.3.9).
  var softError: Int32 = 0
  /// SO_RCVBUF: received bytes that are not taken and the window together; nil for the stack's own choice.
  var receiveLimitBytes: Int?
  var receiveTuning = ReceiveTuning()
  var acknowledgement = HeldAcknowledgement()
  var activity = Activity.Share()
  var settings = ConnectionOptions()
  var roundTrip = RoundTrip()
  /// What TCP_CORK holds back: less than a segment.
  var corked: [UInt8] = []
  /// The app asked for TCP_NODELAY; lwIP's own flag is always set where super-segments are built.
  var noDelay = false
  var received: Deque<UnsafeMutablePointer<pbuf>> = []
  /// Bytes of the first buffer that the owner has already taken.
  var receivedOffset = 0
  var receivedBytes = 0
  /// The sequence number of the first byte that the owner has not taken, and that of an urgent byte not taken yet.
  var readSequence: UInt32 = 0
  var receivedUrgent: UInt32?
  /// The sequence number behind the last urgent byte, until it is acknowledged.
  var sentUrgentEnd: UInt32?
  var held: Deque<Held> = []
  var local: Endpoint
  var remote: Endpoint

  init(pcb: UnsafeMutablePointer<tcp_pcb>?, interfaceIndex: UInt8, owner: UInt64, local: Endpoint, remote: Endpoint) {
    self.pcb = pcb
    self.interfaceIndex = interfaceIndex
    self.owner = owner
    self.local = local
    self.remote = remote
  }
}

/// A listening PCB with the connections that its owner has not taken yet.
struct Listener: ~Copyable {
  var pcb: UnsafeMutablePointer<tcp_pcb>?
  let interfaceIndex: UInt8
  var owner: UInt64
  var accepted: Deque<SlabKey> = []
  /// Of those it accepts.
  var settings = ConnectionOptions()
}

extension SlabKey {
  /// As lwIP's callback argument.
  var argument: UnsafeMutableRawPointer? { UnsafeMutableRawPointer(bitPattern: UInt(bits)) }
  init(argument: UnsafeMutableRawPointer?) { self.init(bits: UInt64(UInt(bitPattern: argument))) }
}
