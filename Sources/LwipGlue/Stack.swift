internal import CLwip
internal import DequeModule
public import Frames
internal import Glibc
public import Slab

/// Memory outside lwIP that `Stack.write` refers to without copying.
public protocol SendMemory: AnyObject {
  /// Whether `address` lies in one of this memory's buffers.
  func contains(_ address: UnsafeRawPointer) -> Bool
  /// Keeps the buffer that holds `address`, if it is one of this memory's; otherwise does nothing.
  func retain(holding address: UnsafeRawPointer)
  /// Few buffers are free: what would be kept for long had better be copied.
  var isScarce: Bool { get }
  /// Gives back one `retain`.
  func release(holding address: UnsafeRawPointer)
}

/// What happened to a connection or listener since it was last asked about.
public struct StackEvents: OptionSet, Sendable {
  public let rawValue: UInt16
  public init(rawValue: UInt16) { self.rawValue = rawValue }
  /// The three-way handshake is done.
  public static let established = StackEvents(rawValue: 1)
  /// Bytes arrived.
  public static let received = StackEvents(rawValue: 2)
  /// The peer sent FIN: nothing more will arrive.
  public static let endOfStream = StackEvents(rawValue: 4)
  /// Bytes were acknowledged: there is room for more.
  public static let sent = StackEvents(rawValue: 8)
  /// The connection is gone; `Stack.error(of:)` says why.
  public static let failed = StackEvents(rawValue: 16)
  /// A listener has connections to accept.
  public static let accepted = StackEvents(rawValue: 32)
}

/// lwIP as one object: interfaces, TCP connections, timers.
///
/// Theory of operation: lwIP is one set of globals per process and is entered by one thread; so there is one `Stack` at a
/// time. lwIP calls back while it is inside a connection, where no other connection may be touched; callbacks therefore
/// only note what happened (`StackEvents`) and queue the connection, and the owner takes events (`nextEvent`) when lwIP has
/// returned. Connections are slots of a slab, named by keys that turn stale when the slot is freed; lwIP's `arg` carries
/// the key, never a pointer.
public final class Stack {
  nonisolated(unsafe) static var current: Stack?

  /// The most connections and listeners, together.
  public static let connectionLimit = 262_144

  var connections = Slab<Connection>(capacity: Stack.connectionLimit)
  var listeners = Slab<Listener>(capacity: 65_536)
  private var eventQueue: Deque<EventOwner> = []
  private(set) var interfaces: [NetworkInterface] = []
  /// Those that learn addresses, and so have timers of their own.
  private var dynamicInterfaces: [NetworkInterface] = []
  let sendMemory: (any SendMemory)?
  private let frames: FramePool
  /// Loss recovery of what lwIP sends, by PCB.
  var recoveries = Slab<Recovery>(capacity: Stack.connectionLimit)
  public internal(set) var recoveryCounters = RecoveryCounters()
  let segmentRecords = SegmentRecords()
  var recoveryWheel = TimerWheel()
  let sackBlocks = UnsafeMutablePointer<nc_sack_block>.allocate(capacity: Int(NC_SACK_BLOCKS))
  private let hashKey: (UInt64, UInt64) = (.random(in: .min ... .max), .random(in: .min ... .max))  // getrandom(2)
  private var startMilliseconds: UInt64 = 0
  private(set) var nowMilliseconds: UInt64 = 0
  private(set) var nowMicroseconds: UInt64 = 0
  let blocks = ControlBlockTable()
  let timeWait = TimeWaitTable()
  var activity = Activity()
  /// Connections whose acknowledgement waits, and until when, in microseconds; some may have been sent since.
  var heldAcknowledgements: Deque<(key: SlabKey, deadline: UInt64)> = []
  var answers = AwaitedAnswers()
  /// Whether there is much to do at present: what can wait a little for company should.
  public var isBusy = false
  var pathTimes = PathTimes()
  var portCounter = UInt32.random(in: 0...65_535)
  var datagrams = DatagramState()
  /// Who takes datagrams and the errors about them; without, each is answered with port unreachable.
  public weak var datagramReceiver: (any DatagramReceiver)?
  public internal(set) var datagramCounters = DatagramCounters()
  /// Connections with bytes that TCP_CORK holds back, and until when.
  var corkedConnections: [SlabKey: UInt64] = [:]
  /// Connections with a TCP_USER_TIMEOUT.
  var timedConnections: Set<SlabKey> = []
  /// Received bytes, of all connections, that wait for their owners.
  public internal(set) var receivedTotal = 0
  /// Segments dropped because `receivedTotal` had reached its budget; the peers send them again.
  public internal(set) var budgetDrops: UInt64 = 0
  /// Tells whether a listener takes one more connection; asked for each SYN. The argument is the listener's owner.
  public var admits: (UInt64) -> Bool = { _ in true }

  /// Tells whether an ephemeral port is taken by a socket that is bound but not connected. Interface number and port.
  public var reservedPorts: (UInt8, UInt16) -> Bool = { _, _ in false }

  enum EventOwner { case connection(SlabKey), listener(SlabKey) }

  /// Whether lwIP was built from source with our options: big windows, super-segments, hooks.
  public static var isSourceBuild: Bool { nc_lwip_is_source_build() }

  /// Whether `write` needs the memory it is given only until it returns.
  public static var copiesOnWrite: Bool { nc_lwip_copies_on_write() }

  /// Starts lwIP.
  /// - Parameters:
  ///   - frames: the pool that outgoing frames come from.
  ///   - sendMemory: the memory that `write` may refer to.
  public init(frames: FramePool, sendMemory: (any SendMemory)?) {
    precondition(Self.current == nil, "lwIP's state is global: one Stack at a time")
    self.frames = frames
    self.sendMemory = sendMemory
    Self.current = self
    precondition(Self.lwipIsStarted)
    beginDatagrams()
  }

  deinit { sackBlocks.deallocate() }

  /// Ends this stack, so that another can be made (lwIP itself is initialised once per process).
  public func close() {
    timeWait.removeAll()
    endDatagrams()
    blocks.presentAll()
    for interface in interfaces { netif_remove(interface.netif) }  // ends the connections on its addresses
    while let block = nc_tcp_active_pcbs() { tcp_abort(block) }
    interfaces = []
    dynamicInterfaces = []
    if Self.current === self { Self.current = nil }
  }

  private static let lwipIsStarted: Bool = {
    nc_install_hooks(
      hookInitialSequence, { Stack.current?.blocks.freed(mark: $0) }, hookSegment,
      { source, _ in Stack.current?.route(from: source.map { IPAddress(bytes: $0, isV6: false) }) },
      { source, _ in Stack.current?.route(from: source.map { IPAddress(bytes: $0, isV6: true) }) },
      { netif, destination in NetworkInterface.of(netif).nextHopV4(destination!) },
      { netif, destination in NetworkInterface.of(netif).nextHopV6(destination!) })
    nc_tcp_use_recovery(hookSending, hookDestroyed)
    lwip_init()
    return true
  }()

  // MARK: Interfaces

  /// Adds an interface; see `NetworkInterface`.
  /// - Returns: nil where lwIP has no number left for another (255), or no room for one of the IPv6 addresses.
  public func makeInterface(
    name: String, mac: MACAddress, mtu: Int, offloads: Bool, addresses: [InterfaceAddress], routes: [Route],
    transmitter: any FrameTransmitter
  ) -> NetworkInterface? {
    guard interfaces.count < 250 else { return nil }
    let interface = NetworkInterface(
      stack: self, name: name, mac: mac, mtu: mtu, offloads: offloads, frames: frames, transmitter: transmitter)
    interfaces.append(interface)
    let loopback = InterfaceAddress(address: .loopbackV6, prefixBits: 128)
    for address in addresses + [loopback] where !interface.add(address) {
      remove(interface)
      return nil
    }
    for route in routes { interface.add(route) }
    return interface
  }

  /// Takes an interface away. What is left of its connections is reset, those in the background included; their keys, and
  /// those of its listeners, are stale after.
  public func remove(_ interface: NetworkInterface) {
    let index = interface.index
    for key in connections.keys where connections.pointer(key)?.pointee.interfaceIndex == index { abort(key) }
    for key in listeners.keys where listeners.pointer(key)?.pointee.interfaceIndex == index { closeListener(key) }
    blocks.presentAll()
    blocks.forEachActive { if $0.pointee.netif_idx == index { tcp_abort($0) } }
    leaveLwip()
    timeWait.removeAll(interfaceIndex: index)  // the number may be another interface's one day
    interfaces.removeAll { $0 === interface }
    dynamicInterfaces.removeAll { $0 === interface }
    netif_remove(interface.netif)
  }

  func noteDynamic(_ interface: NetworkInterface) {
    if !dynamicInterfaces.contains(where: { $0 === interface }) { dynamicInterfaces.append(interface) }
  }

  /// lwIP asks for the interface of a packet without a bound PCB: the one that is being served, or owns the source.
  private func route(from source: IPAddress?) -> UnsafeMutablePointer<netif>? {
    if let input = nc_current_input_netif() { return input }
    guard let source else { return nil }
    return interfaces.first { $0.owns(source) }?.netif
  }

  // MARK: Time

  /// Tells lwIP the time; once per turn of the loop.
  public func setTime(nanoseconds: UInt64) {
    nowMilliseconds = nanoseconds / 1_000_000
    nowMicroseconds = nanoseconds / 1000
    if startMilliseconds == 0 { startMilliseconds = nowMilliseconds }
    let elapsed = nowMilliseconds - startMilliseconds
    nc_set_now(UInt32(truncatingIfNeeded: elapsed), nowMicroseconds)
    if Self.isSourceBuild {
      nc_tcp_set_ticks(UInt32(truncatingIfNeeded: elapsed / UInt64(nc_tcp_slow_interval_milliseconds())))
    }
  }

  /// How long until `runTimers` has work: milliseconds; nil for never.
  public var nextTimerMilliseconds: UInt32? {
    let lwip = sys_timeouts_sleeptime()
    var own = min(
      timeWait.nextDeadlineMilliseconds ?? .max, datagrams.neighbours.nextDeadlineMilliseconds ?? .max)
    for interface in dynamicInterfaces { own = min(own, interface.dynamicDeadlineMilliseconds ?? .max) }
    own = min(own, recoveryWheel.nextTick ?? .max)
    if !heldAcknowledgements.isEmpty { own = min(own, nowMilliseconds + 1) }
    if let (_, deadline, _) = answers.queue.first {
      own = min(own, nowMilliseconds + (deadline > nowMicroseconds ? (deadline - nowMicroseconds) / 1000 : 0) + 1)
    }
    guard own != .max else { return lwip == .max ? nil : lwip }
    return min(lwip, UInt32(clamping: own > nowMilliseconds ? own - nowMilliseconds : 0))
  }

  /// Runs lwIP's timers that are due.
  public func runTimers() {
    timeWait.expire(nowMilliseconds: nowMilliseconds)
    tellOfSilentNeighbours()
    for interface in dynamicInterfaces { interface.expireDynamic() }
    runRecoveryTimers()
    sendHeldAcknowledgements()
    guard sys_timeouts_sleeptime() == 0 else { return }
    boundRetransmissionTimers()
    runOptionTimers()
    blocks.runTimers { sys_check_timeouts() }
    leaveLwip()
    endOverdueConnections()
    for interface in interfaces { interface.expireFragments() }
  }

  /// Delivers what interfaces sent to their own addresses.
  public func pollLoopback() {
    guard hasLoopback else { return }
    for interface in interfaces { interface.pollLoopback() }
  }

  /// Whether something waits for `pollLoopback`.
  public var hasLoopback: Bool { nc_any_loopback() }

  /// Takes lwIP's lists over, after each entry that may have made, moved or ended a connection.
  func leaveLwip() {
    answers.established = nil
    blocks.park()
    timeWait.sweep(blocks, nowMilliseconds: nowMilliseconds)
  }

  // MARK: Events

  func post(_ events: StackEvents, to key: SlabKey) {
    guard let connection = connections.pointer(key) else { return }
    if connection.pointee.events.isEmpty { eventQueue.append(.connection(key)) }
    connection.pointee.events.formUnion(events)
  }

  func post(listener key: SlabKey) { eventQueue.append(.listener(key)) }

  /// One connection or listener with news, or nil. Its owner is the number given when it was made.
  public enum Event {
    case connection(SlabKey, owner: UInt64, StackEvents)
    case accepted(SlabKey, listenerOwner: UInt64)
  }

  public func nextEvent() -> Event? {
    while let next = eventQueue.popFirst() {
      switch next {
      case .connection(let key):
        guard let connection = connections.pointer(key) else { continue }
        let events = connection.pointee.events
        connection.pointee.events = []
        if connection.pointee.isDetached { continue }
        return .connection(key, owner: connection.pointee.owner, events)
      case .listener(let key):
        guard let listener = listeners.pointer(key) else { continue }
        guard let connection = listener.pointee.accepted.popFirst() else { continue }
        // First in the queue: the owner must know a connection before its own events come.
        if !listener.pointee.accepted.isEmpty { eventQueue.prepend(.listener(key)) }
        return .accepted(connection, listenerOwner: listener.pointee.owner)
      }
    }
    return nil
  }

  public var hasEvents: Bool { !eventQueue.isEmpty }

  // MARK: Hooks

  /// RFC 6528: a keyed hash of the four-tuple plus a clock; one of 64 ns, as Linux's, so that a connection that takes an old
  /// one's place begins beyond its last sequence number at anything below 125 Mbit/s since then.
  func initialSequence(_ local: Endpoint, _ remote: Endpoint) -> UInt32 {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    let clock = (UInt64(time.tv_sec) &* 1_000_000_000 &+ UInt64(time.tv_nsec)) >> 6
    return UInt32(truncatingIfNeeded: keyedHash(local, remote) &+ clock)
  }

  /// Where the ports towards a destination begin (RFC 6056 section 3.3.3).
  func portOffset(_ local: IPAddress, _ remote: Endpoint) -> UInt32 {
    UInt32(truncatingIfNeeded: keyedHash(Endpoint(address: local, port: 0), remote) >> 32)
  }

  /// SipHash with a per-process key; our own key makes it unpredictable even where that is fixed.
  private func keyedHash(_ local: Endpoint, _ remote: Endpoint) -> UInt64 {
    var hasher = Hasher()
    hasher.combine(hashKey.0)
    hasher.combine(local)
    hasher.combine(remote)
    hasher.combine(hashKey.1)
    return UInt64(bitPattern: Int64(hasher.finalize()))
  }
}

private func hookInitialSequence(
  _ local: UnsafePointer<ip_addr_t>?, _ localPort: UInt16, _ remote: UnsafePointer<ip_addr_t>?, _ remotePort: UInt16
) -> UInt32 {
  guard let stack = Stack.current, let local, let remote else { return arc4random() }
  return stack.initialSequence(
    Endpoint(address: IPAddress(local), port: localPort), Endpoint(address: IPAddress(remote), port: remotePort))
}

private func hookSegment(
  _ pcb: UnsafeMutablePointer<tcp_pcb>?, _ header: UnsafeMutablePointer<tcp_hdr>?, _ optionBytes: UInt16,
  _ payloadBytes: UInt16
) -> err_t {
  guard let stack = Stack.current, let pcb, let header else { return err_t(ERR_OK.rawValue) }
  return stack.onSegment(pcb, header, optionBytes: optionBytes, payloadBytes: Int(payloadBytes))
    ? err_t(ERR_OK.rawValue) : err_t(ERR_ABRT.rawValue)
}
