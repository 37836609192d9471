internal import ControlPlane
internal import DequeModule
internal import Frames
internal import Glibc
internal import Links
public import Logging
internal import LwipGlue
internal import NetcondRPC
internal import Slab
internal import UringLoop

/// The daemon: one ring, one stack, the networks, and all intercepted sockets; wired here and nowhere else.
///
/// Theory of operation: everything happens in `turn`, on one thread. Completions are taken from the ring and sent to
/// their owners by one switch (`dispatch`); what that caused in lwIP is then taken as events; links and loopback deliver
/// what waits inside the process; timers run if they are due; and all operations prepared meanwhile are submitted
/// together with the wait for the next completion. Nothing blocks, and nothing ticks when nothing happens but lwIP's own
/// timers.
public final class Daemon {
  /// What completes: the kinds of tokens.
  enum Kind {
    static let signal: UInt8 = 1, link: UInt8 = 2, accept: UInt8 = 3, client: UInt8 = 4, socket: UInt8 = 5,
      cancel: UInt8 = 6, datagram: UInt8 = 7, host: UInt8 = 8, control: UInt8 = 9
  }

  /// How a daemon is set up; the defaults are what the command line gives.
  public struct Options: Sendable {
    /// Use nothing newer than Linux 6.1 of io_uring, whatever the kernel has.
    public var baselineRing = false
    /// Open sockets at a time; beyond, socket() fails with ENFILE.
    public var socketLimit = 131_072
    /// Programs connected at a time; beyond, a new one's sockets fail with ENETDOWN.
    public var clientLimit = 16_384
    /// RLIMIT_NOFILE: the last few descriptors are kept for the RPC.
    public var descriptorLimit = 1024
    /// How long connections may take to end after TERM, in nanoseconds.
    public var drainNanoseconds: UInt64 = 3_000_000_000
    /// How long the loop looks for work without sleeping after the last there was, in nanoseconds; 0 sleeps at once.
    public var spinNanoseconds: UInt64 = 0
    public init() {}
  }

  /// Frame buffers: the offload header, Ethernet's header and the largest IP packet, rounded up to pages.
  static let frameBufferBytes = 68 * 1024
  static let frameBufferCount = 1024
  /// Buffers for the apps' bytes: a super-segment of a stream, or the largest datagram behind its header.
  static let sendBufferBytes = 68 * 1024
  /// The most that is taken from a stream at once: a super-segment.
  static let streamReceiveBytes = 64 * 1024
  static let sendBufferCount = 2048

  let log: Logger
  let options: Options
  let ring: Ring
  let framePool: BufferPool
  let sendPool: BufferPool
  let frames: FramePool
  let stack: Stack
  /// The networks that are served.
  var networks: [Network] = []
  /// All there ever were, by number: tokens and sockets name them by it.
  var networkTable: [Network] = []
  /// nil where the interface could not be had.
  private(set) var control: ControlServer?
  var hubs: [String: Hub] = [:]
  var sockets: Slab<Socket>
  var datagrams: Slab<DatagramSocket>
  var clients: Slab<Client>
  var sendSlots = SendSlots()
  var appEnds = AppEnds()
  /// Sockets whose app's end the daemon has, oldest first, as long as they are in that state, and when each is to give it back; some may
  /// have done so already.
  var borrowedEnds: Deque<(socket: SlabKey, state: SocketState, deadline: UInt64)> = []
  /// Of sockets that the daemon has let go: options by the cookie of an app's end.
  var retained = RetainedSockets()
  var directPorts = DirectPorts()
  /// Sockets made ahead that no request has named yet.
  var preparedCount = 0
  /// Clients there were, which numbers them.
  var clientCount: UInt64 = 0
  /// Ends of pairs that nobody needs any more.
  var endedPairs: [Int32] = []
  /// Connections that were reset while they waited to be accepted.
  var unacceptedResets: [SlabKey] = []
  /// Connections that their listener is not to see before bytes have come (TCP_DEFER_ACCEPT), or the time is over.
  var deferred: [SlabKey: (socket: SlabKey, deadline: UInt64)] = [:]
  /// Listeners whose accept records could not be sent for want of descriptors in flight.
  var refusedListeners: [SlabKey] = []
  private var retryDeadline: UInt64?
  var lastExhaustionReport: UInt64 = 0
  /// Sockets whose receive found no buffer.
  var starved: Deque<SlabKey> = []
  var starvedDatagrams: Deque<SlabKey> = []
  private var datagramGate: DatagramGate?
  let nonce = UInt64.random(in: .min ... .max)
  var nextSocketID: UInt64 = 1
  private(set) var now: UInt64 = 0
  let startTime = monotonicNanoseconds()
  /// Completions of RPC connections that this turn has taken.
  private var requests: [Completion] = []
  /// Until when the loop does not sleep, and the ring's count of completions that this was decided by.
  private var spinEnd: UInt64 = 0
  private var spunCompletions: UInt64 = 0
  private var priority: TurnPriority
  private var load = TurnLoad()
  private var gathering = Gathering()
  let linkAttention = LinkAttention()
  /// When the first of the links' deadlines is, unless one has called for attention since.
  var linkDeadline = UInt64.max
  /// When the links are to hear again of how much is received and sent.
  var adaptDeadline: UInt64 = 0
  private let signals: SignalSource
  /// When the daemon gives up waiting for connections to end; nil while it serves.
  private var drainDeadline: UInt64?
  private(set) var counters = DaemonCounters()

  /// Sets up ring, buffers and stack.
  /// - Throws: `RingError`.
  public init(options: Options, log: Logger) throws {
    self.log = log
    self.options = options
    ring = try Ring(entries: 1024, limit: options.baselineRing ? .baseline : .newest)
    framePool = try BufferPool(
      ring: ring, group: 1, bufferBytes: Self.frameBufferBytes, count: Self.frameBufferCount, ringDepth: 64)
    sendPool = try BufferPool(
      ring: ring, group: 2, bufferBytes: Self.sendBufferBytes, count: Self.sendBufferCount, ringDepth: 64)
    frames = FramePool(limit: 8192)
    sockets = Slab(capacity: options.socketLimit)
    datagrams = Slab(capacity: options.socketLimit)
    clients = Slab(capacity: options.clientLimit)
    priority = TurnPriority(isWanted: options.spinNanoseconds == 0)
    signals = try SignalSource([SIGTERM, SIGINT, SIGQUIT])
    arenas = Stack.isSourceBuild ? ArenaTable() : nil
    let memory = SendBuffers(pool: sendPool, arenas: arenas)
    sendMemory = memory
    stack = Stack(frames: frames, sendMemory: memory)
    stack.admits = { [unowned self] in
      let leader = sockets.pointer(SlabKey(bits: $0))
      return leader?.pointee.sharers.contains { admitsConnection(listener: $0) } ?? false
    }
    stack.reservedPorts = { [unowned self] interface, port in
      networks.contains { $0.interface.number == interface && $0.ports.isUsed(port) }
    }
    datagramGate = DatagramGate(self)
    stack.datagramReceiver = datagramGate
    let lwip = Stack.isSourceBuild ? "source build" : "Debian's package: 64 KiB windows, no offloads"
    let isWhole = ring.capabilities.isComplete && Stack.isSourceBuild
    log.log(level: isWhole ? .info : .notice, "io_uring: \(ring.capabilities); lwIP: \(lwip)")
  }

  let sendMemory: SendBuffers
  /// nil where bytes can only come through pairs.
  let arenas: ArenaTable?
  /// Where datagrams of the host's are received, one at a time: the longest there can be.
  let hostBuffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 65_536, alignment: 16)

  /// Opens links and RPC sockets of `configurations`.
  /// - Throws: `ConfigurationErrors` or `HomeError`.
  public func open(_ configurations: [NetworkConfiguration], home: Home) throws {
    var errors: [ConfigurationError] = []
    for configuration in configurations {
      do {
        _ = try make(configuration, home: home)
      } catch let mistakes as ConfigurationErrors {
        errors += mistakes.errors
      }
    }
    guard errors.isEmpty else { throw ConfigurationErrors(errors) }
    for network in networks { try begin(network) }
    signals.arm(ring, token: Token(kind: Kind.signal, operation: 0, owner: 0))
  }

  /// Makes a network with its link.
  /// - Throws: `ConfigurationErrors`.
  func make(_ configuration: NetworkConfiguration, home: Home) throws -> Network {
    do {
      let link = try makeLink(configuration)
      let network = try Network(
        number: networkTable.count, configuration: configuration, home: home, link: link, stack: stack, log: log)
      networks.append(network)
      networkTable.append(network)
      return network
    } catch let error as TapError {
      throw ConfigurationErrors([
        ConfigurationError(
          file: configuration.file, line: configuration.linkLine, cause: error.cause, cure: error.cure)
      ])
    }
  }

  /// Begins to serve a network.
  /// - Throws: `HomeError`.
  func begin(_ network: Network) throws {
    try network.openSocket()
    network.begin(
      LinkContext(
        ring: ring, receivePool: framePool, frames: frames, kind: Kind.link, number: UInt16(network.number),
        attention: linkAttention))
    ring.prepareAcceptMultishot(network.listenFd, token: acceptToken(network))
    log.info("network \(network.id): \(network.facts)")
  }

  /// Answers requests of the control interface from the next turn on.
  func serve(_ server: ControlServer, home: Home) {
    control = server
    server.start(ring, kind: Kind.control) { [unowned self] in answer($0, home: home, token: home.token) }
  }

  func acceptToken(_ network: Network) -> Token {
    Token(kind: Kind.accept, operation: 0, owner: UInt64(network.number))
  }

  // MARK: The loop

  /// Runs until a signal has ended the daemon in order.
  /// - Parameter onReady: called once, when all configured addresses may be used (duplicate address detection over).
  public func run(onReady: () -> Void) {
    var isReady = false
    while true {
      let isDone = turn()
      if !isReady, !networks.contains(where: { $0.interface.hasTentativeAddresses }) {
        isReady = true
        reportDuplicates()
        for network in networks where !network.interface.hasLease {
          log.notice("network \(network.id): no IPv4 address yet; a DHCP server is waited for")
        }
        onReady()
      }
      if isDone { break }
    }
    control?.stop()
    for key in sockets.keys {
      ring.prepareCancel(socketToken(key, Operation.send), token: cancelToken)
      if let host = sockets.pointer(key)?.pointee.host { closeOutside(key, host) }
    }
    ring.submit()  // sends under way read the memory of connections and buffers
    stack.abortAll()  // those that did not end in time
    for network in networks { network.interface.endDHCP() }
    ring.submit()  // the last frames leave
    for network in networks {
      network.reportImpairments()
      network.link.stop()
    }
    stack.close()
  }

  private func reportDuplicates() {
    for network in networks {
      for address in network.interface.duplicatedAddresses {
        log.error("network \(network.id): another host has \(address) already; it is not used")
      }
    }
  }

  /// One turn; true when the daemon is to end.
  func turn() -> Bool {
    now = monotonicNanoseconds()
    stack.setTime(nanoseconds: now)
    load.noteTurn(completions: ring.completionCount, now: now)
    stack.isBusy = load.isBusy
    ring.drain { dispatch($0) }
    emptyWire()
    takeRequests()
    takeEvents()
    stack.runTimers()
    takeEvents()
    retryRefused()
    searchAppEnds()
    if let deadline = control?.deadline, deadline <= now { control?.expire(now: now) }
    arenas?.trim(now: now)
    returnBorrowedEnds()
    replenish()  // before the polls: a tap that ran out of buffers reads on
    repeatPolls()
    replenish()
    adaptLinks()
    if drainDeadline != nil, isDrained { return true }
    closeEndedPairs()
    priority.noteTurn(completions: ring.completionCount, isBulk: stack.hasBulk, now: now)
    wait()
    return false
  }

  /// Submits what was prepared, and sleeps until something completes or a timer is due. With `spinNanoseconds` it looks
  /// for completions first, so that none has to wake it: waking an idle CPU takes longer than the rest of a round trip.
  private func wait() {
    guard !isPending else { return ring.submitAndWait(nanoseconds: 0) }
    let limit = waitNanoseconds
    if options.spinNanoseconds > 0, limit != 0 {
      if ring.completionCount != spunCompletions {
        spunCompletions = ring.completionCount
        spinEnd = now + options.spinNanoseconds
      }
      if spinEnd > now {
        _ = ring.submitAndSpin(nanoseconds: min(limit ?? .max, spinEnd - now))
        return
      }
    }
    ring.submitAndWait(nanoseconds: limit, gathering: gathering.least(stack.bulk, now: now))
  }

  /// Answers requests, after all else that had come. A program that asks has often just sent something: what that brought
  /// back at once, such as an ICMP error, must find the socket as it was when the datagram left.
  private func takeRequests() {
    guard !requests.isEmpty else { return }
    ring.submit()
    ring.drain { dispatch($0) }
    let taken = requests
    requests.removeAll(keepingCapacity: true)
    for completion in taken { completeClient(SlabKey(bits: completion.token.owner), completion) }
  }

  /// How often a turn reads on when all buffers that the kernel had are filled.
  private static let wireRounds = 8

  /// Takes what else the links have, before apps are given anything: what waits there is not acknowledged, and to the peers
  /// the path seems longer for it; what waits here is bounded by the windows.
  private func emptyWire() {
    var rounds = Self.wireRounds
    while framePool.isExhausted, framePool.freeCount > framePool.bufferCount / 2, rounds > 0 {
      rounds -= 1
      framePool.replenish(upTo: frameDepth)
      for network in networks { network.link.poll() }
      ring.submit()
      ring.drain { dispatch($0) }
    }
  }

  /// Frames that the kernel may fill before it is given more. The buffers of one stream are few enough to stay in the core's own
  /// cache (5 % of its throughput); of several, or where acknowledgements arrive as well, fewer turns are worth more.
  private var frameDepth: Int { stack.bulk == (receivers: 1, senders: 0) ? 8 : .max }

  private func replenish() {
    framePool.replenish(upTo: frameDepth)
    sendPool.replenish()
    resumeStarved()
    resumeStarvedDatagrams()
  }

  /// Tries again what failed for want of descriptors: at once it would fail again, for ever.
  private func retryRefused() {
    guard let deadline = retryDeadline, deadline <= now else { return }
    retryDeadline = nil
    for network in networks where network.acceptIsPaused && drainDeadline == nil {
      network.acceptIsPaused = false
      ring.prepareAcceptMultishot(network.listenFd, token: acceptToken(network))
    }
    let listeners = refusedListeners
    refusedListeners = []
    for key in listeners {
      if let socket = sockets.pointer(key), socket.pointee.state == .listening { sendAcceptRecords(key, socket) }
    }
    let resets = unacceptedResets
    unacceptedResets = []
    for key in resets { if let socket = sockets.pointer(key) { finishClosing(key, socket) } }
    endDeferring()
  }

  /// Asks for `retryRefused` in a tenth of a second.
  func retryLater() { retryDeadline = retryDeadline ?? now + 100_000_000 }

  /// Delivers what waits inside the process. It causes answers that wait in turn: a few rounds save turns.
  private func repeatPolls() {
    var rounds = 8
    repeat {
      pollLinks()
      stack.pollLoopback()
      takeEvents()
      rounds -= 1
    } while isPending && rounds > 0
  }

  /// Whether there is work that no completion will announce.
  private var isPending: Bool {
    stack.hasEvents || stack.hasLoopback || linksArePending
  }

  /// How long the loop may sleep; nil: until something completes.
  private var waitNanoseconds: UInt64? {
    if linkAttention.isWanted { linkDeadline = firstLinkDeadline }
    var earliest = linkDeadline
    // Links count in microseconds, and the turn may have taken a while.
    let time = earliest == .max ? now : monotonicNanoseconds()
    if let timer = stack.nextTimerMilliseconds { earliest = min(earliest, now + UInt64(timer) * 1_000_000) }
    // One after the other: min() of more than two makes an array of them.
    func heed(_ deadline: UInt64?) { if let deadline, deadline < earliest { earliest = deadline } }
    heed(drainDeadline)
    heed(retryDeadline)
    heed(arenas?.deadline)
    heed(control?.deadline)
    heed(appEnds.deadline)
    heed(borrowedEnds.first?.deadline)
    return earliest == .max ? nil : earliest > time ? earliest - time : 0
  }

  /// The one switch that sends a completion to its owner.
  private func dispatch(_ completion: Completion) {
    let token = completion.token
    gathering.note(token, result: completion.result, now: now)
    switch token.kind {
    case Kind.link:
      let number = Int(token.owner >> 32)
      networkTable[number].link.complete(
        operation: token.operation, detail: UInt32(truncatingIfNeeded: token.owner), completion)
    case Kind.socket: completeSocket(SlabKey(bits: token.owner), operation: token.operation, completion)
    case Kind.datagram: completeDatagram(SlabKey(bits: token.owner), operation: token.operation, completion)
    case Kind.host: completeHost(SlabKey(bits: token.owner), operation: token.operation, completion)
    case Kind.client: requests.append(completion)
    case Kind.control: control?.complete(completion, now: now)
    case Kind.accept: completeAccept(networkTable[Int(token.owner)], completion)
    case Kind.signal: completeSignal(completion)
    case Kind.cancel: break
    default: preconditionFailure("a completion of no known kind: \(token.rawValue)")
    }
  }

  private func takeEvents() {
    while stack.hasEvents, let event = stack.nextEvent() {
      switch event {
      case .connection(let connection, let owner, let events):
        handle(events, of: connection, socket: SlabKey(bits: owner))
      case .accepted(let connection, let listenerOwner):
        acceptConnection(connection, listener: SlabKey(bits: listenerOwner))
      }
    }
  }

  private func completeAccept(_ network: Network, _ completion: Completion) {
    if completion.result >= 0 {
      if network.listenFd < 0 { close(completion.result) } else { addClient(fd: completion.result, network: network) }
    } else if [-EMFILE, -ENFILE, -ENOMEM, -ENOBUFS].contains(completion.result), !network.acceptIsPaused {
      reportExhaustion("network \(network.id): another program waits")
      network.acceptIsPaused = true
      return retryLater()
    }
    if !completion.more, network.listenFd >= 0, drainDeadline == nil, !network.acceptIsPaused {
      ring.prepareAcceptMultishot(network.listenFd, token: acceptToken(network))
    }
  }

  // MARK: The end

  private func completeSignal(_ completion: Completion) {
    guard completion.result > 0 else { return }
    let name = signals.take().map { String(cString: strsignal($0)) } ?? "signal"
    guard drainDeadline == nil else {
      log.warning("\(name) again: connections are cut")
      drainDeadline = now
      return
    }
    log.info("\(name): ending \(sockets.count) sockets")
    drainDeadline = now + options.drainNanoseconds
    signals.arm(ring, token: Token(kind: Kind.signal, operation: 0, owner: 0))
    for network in networks {
      ring.prepareCancel(acceptToken(network), token: cancelToken)
      network.closeSocket()
    }
    for key in clients.keys { removeClient(key) }
    for key in sockets.keys { drain(key) }
    for key in datagrams.keys {
      if let socket = datagrams.pointer(key) { closeDatagramSocket(key, socket) }
    }
  }

  var cancelToken: Token { Token(kind: Kind.cancel, operation: 0, owner: 0) }

  private var isDrained: Bool {
    if sockets.count == 0 && stack.connectionCount == 0 && !stack.hasUnacknowledged { return true }
    guard let drainDeadline, now >= drainDeadline else { return false }
    log.warning("\(sockets.count) sockets had not ended in time and were cut")
    return true
  }

  /// TERM has come.
  var isEnding: Bool { drainDeadline != nil }

  func count(_ counter: WritableKeyPath<DaemonCounters, UInt64>) { counters[keyPath: counter] += 1 }
}
