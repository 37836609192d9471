internal import CSocket
internal import DequeModule
internal import Glibc
internal import Logging
internal import LwipGlue
internal import NetcondRPC
internal import Slab
internal import UringLoop

/// Sockets as connections and listeners: connect with its outcomes, listen, and the way of an accepted connection to the
/// app (docs/rpc.md, "Accept records").
extension Daemon {
  // MARK: Connect

  /// Begins a connect; the outcome shows on the pair.
  /// - Parameter appEnd: the app's end, lent until the outcome is known or has taken too long; owned by this call. -1: it could
  ///   not be had.
  /// - Returns: EINPROGRESS, or the errno that says why not.
  func connect(_ key: SlabKey, _ socket: UnsafeMutablePointer<Socket>, to remote: Endpoint, appEnd: Int32) -> Int32 {
    switch socket.pointee.state {
    case .new: break
    case .connecting:
      close(appEnd)
      return EALREADY
    case .connected, .listening, .closing:
      close(appEnd)
      return EISCONN
    }
    let network = networkTable[socket.pointee.network]
    if socket.pointee.host != nil || network.hostPolicy.sendsOutside(remote.address, of: network.interface) {
      return connectOutside(key, socket, to: remote, appEnd: appEnd)
    }
    let anyAddress: IPAddress = remote.address.isV6 ? .anyV6 : .anyV4
    let local = socket.pointee.local ?? Endpoint(address: anyAddress, port: 0)
    var target = remote
    if target.address.isAny { target.address = target.address.isV6 ? .loopbackV6 : .loopbackV4 }  // as Linux does
    if network.interface.addresses.contains(where: { $0.broadcast == target.address }) {
      close(appEnd)
      return ENETUNREACH
    }
    if connectDirectly(key, socket, to: target, appEnd: appEnd) { return EINPROGRESS }
    if socket.pointee.boundPort == target.port, network.interface.owns(target.address),
      local.address.isAny || local.address == target.address
    {
      // To itself, which Linux can do (a simultaneous open) and lwIP cannot.
      close(appEnd)
      connectFailed(key, socket, ECONNREFUSED)
      return EINPROGRESS
    }
    do {
      let connection = try stack.connect(
        network.interface, from: local, to: target, owner: key.bits, noDelay: socket.pointee.options.noDelay,
        options: socket.pointee.options.settings(towardsV6: target.address.isV6))
      socket.pointee.connection = connection
    } catch {
      close(appEnd)
      return error.code
    }
    socket.pointee.local = socket.pointee.connection.flatMap { stack.endpoints(of: $0)?.local }
    awaitOutcome(key, socket, to: remote, appEnd: appEnd)
    return EINPROGRESS
  }

  /// A connect is under way.
  func awaitOutcome(_ key: SlabKey, _ socket: UnsafeMutablePointer<Socket>, to remote: Endpoint, appEnd: Int32) {
    socket.pointee.state = .connecting
    socket.pointee.borrowedEnd = appEnd
    socket.pointee.remote = remote
    noteBorrowed(key, socket)
  }

  /// The daemon has a socket's app's end, and is to give it back.
  func noteBorrowed(_ key: SlabKey, _ socket: UnsafeMutablePointer<Socket>) {
    borrowedEnds.append((key, socket.pointee.state, now + Self.borrowNanoseconds))
  }

  /// How long an app's end stays with the daemon while its connect is pending, or once it was taken. As long as it does, the daemon
  /// cannot see that the app has closed it, and would go on with the attempt.
  private static let borrowNanoseconds: UInt64 = 200_000_000

  /// Gives back the ends of connects that take their time, and of sockets taken long ago. Should a connect succeed, the end is
  /// looked for again.
  func returnBorrowedEnds() {
    while let first = borrowedEnds.first {
      let socket = sockets.pointer(first.socket)
      let isBorrowed = socket?.pointee.state == first.state && (socket?.pointee.borrowedEnd ?? -1) >= 0
      if isBorrowed, first.deadline > now { return }
      borrowedEnds.removeFirst()
      if isBorrowed, let socket { returnBorrowedEnd(first.socket, socket) }
    }
  }

  /// From here on it can be seen that the app has closed its end, and matters, unless a receipt would tell.
  func returnBorrowedEnd(_ key: SlabKey, _ socket: UnsafeMutablePointer<Socket>) {
    guard socket.pointee.borrowedEnd >= 0 else { return }
    close(socket.pointee.borrowedEnd)
    socket.pointee.borrowedEnd = -1
    if [.new, .connecting].contains(socket.pointee.state) { armHangUp(key, socket, once: true) }
  }

  /// The handshake is done: the app's end turns writable.
  func connected(_ key: SlabKey, _ socket: UnsafeMutablePointer<Socket>) {
    guard socket.pointee.state == .connecting, let connection = socket.pointee.connection,
      let ends = stack.endpoints(of: connection)
    else { return }
    applyOptions(socket)
    establish(key, socket, local: ends.local, remote: ends.remote)
    armReceive(key, socket)
  }

  /// A connect has succeeded: names become final and the app's end turns writable.
  func establish(_ key: SlabKey, _ socket: UnsafeMutablePointer<Socket>, local: Endpoint, remote: Endpoint) {
    count(\.connected)
    socket.pointee.state = .connected
    socket.pointee.local = local
    socket.pointee.remote = remote
    if !Pair.markStanding(app: socket.pointee.borrowedEnd) { nameConnection(socket) }
    // In this order: each of the two is an edge to epoll, and they are one as long as the app does not look in between.
    Pair.drain(daemon: socket.pointee.fd, bytes: socket.pointee.fillerBytes)
    guard socket.pointee.borrowedEnd >= 0 else {  // it took long: until its end is found, the small send buffer will do
      return searchAppEnd(key, socket, for: .sendBuffer)
    }
    Pair.setSendBuffer(socket.pointee.borrowedEnd, socket.pointee.options.pairSendBufferBytes)
    returnBorrowedEnd(key, socket)
  }

  /// Names the daemon's end of a connection, if it is not named yet: it costs more the more names there are.
  func nameConnection(_ socket: UnsafeMutablePointer<Socket>) {
    guard !socket.pointee.isNamed else { return }
    socket.pointee.isNamed = true
    Pair.bindName(socket.pointee.fd, name(of: socket, NC_STATE_CONNECTED))
  }

  func connectFailed(_ key: SlabKey, _ socket: UnsafeMutablePointer<Socket>, _ error: Int32) {
    if let connection = socket.pointee.connection { stack.abort(connection) }
    socket.pointee.connection = nil
    retain(socket)
    socket.pointee.local = localAfterEnd(socket)
    var name = name(of: socket, NC_STATE_FAILED)
    name.error = UInt16(error == 0 ? ECONNREFUSED : error)
    Pair.bindName(socket.pointee.fd, name)
    closeSocket(key, socket)  // with the filler unread: the app's end polls as TCP's does after a refusal
  }

  func name(of socket: UnsafeMutablePointer<Socket>, _ state: nc_state) -> nc_name {
    var name = nc_name()
    name.state = UInt8(state.rawValue)
    name.family = UInt8(socket.pointee.family)
    name.type = UInt8(SOCK_STREAM.rawValue)
    name.protocol = UInt16(IPPROTO_TCP)
    name.daemon_nonce = nonce
    name.socket_id = socket.pointee.id
    if let local = socket.pointee.local { name.local = nc_address(local) }
    if let remote = socket.pointee.remote { name.remote = nc_address(remote) }
    return name
  }

  // MARK: Listen and accept

  /// Turns a socket into a listener, or changes its backlog. Returns 0 or an errno.
  func listen(_ key: SlabKey, _ socket: UnsafeMutablePointer<Socket>, backlog: Int32) -> Int32 {
    let bounded = max(0, min(Int(backlog < 0 ? Int32.max : backlog), 4096))  // net.core.somaxconn's default
    if let host = socket.pointee.host, [.new, .listening].contains(socket.pointee.state) {
      return listenOutside(key, socket, host, backlog: bounded)
    }
    if socket.pointee.state == .listening {
      socket.pointee.backlog = bounded
      return 0
    }
    guard socket.pointee.state == .new else { return EINVAL }
    let network = networkTable[socket.pointee.network]
    if socket.pointee.boundPort == nil {
      let any: IPAddress = socket.pointee.family == AF_INET6 ? .anyV6 : .anyV4
      let status = bind(key, socket, to: Endpoint(address: any, port: 0), reuseAddress: false, user: 0)
      guard status == 0 else { return status }
    }
    guard let port = socket.pointee.boundPort, let local = socket.pointee.local,
      network.ports.listen(key, port: port)
    else { return EADDRINUSE }
    if !shareListener(key, port: port, network) {
      do {
        socket.pointee.listener = try stack.listen(
          network.interface, on: local, v6Only: socket.pointee.options.isV6Only, owner: key.bits,
          options: socket.pointee.options.settings(towardsV6: local.address.isV6))
      } catch {
        return error.code
      }
      socket.pointee.sharers = [key]
    }
    socket.pointee.state = .listening
    socket.pointee.backlog = bounded
    Pair.bindName(socket.pointee.fd, name(of: socket, NC_STATE_LISTENING))
    return 0
  }

  /// Binds a socket. Returns 0 or an errno.
  /// - Parameter user: the user id of the program that asks.
  func bind(
    _ key: SlabKey, _ socket: UnsafeMutablePointer<Socket>, to local: Endpoint, reuseAddress: Bool, user: UInt32
  ) -> Int32 {
    guard socket.pointee.state == .new, socket.pointee.boundPort == nil, socket.pointee.host == nil else {
      return EINVAL
    }
    let network = networkTable[socket.pointee.network]
    if network.hostPolicy.bindsOutside(local.address, of: network.interface) {
      return bindOutside(socket, to: local, reuseAddress: reuseAddress, user: user)
    }
    guard socket.pointee.options.mayBindAnywhere || isBindable(local.address, network.interface) else {
      return EADDRNOTAVAIL
    }
    let isDual = local.address == .anyV6 && !socket.pointee.options.isV6Only
    let binding = PortTable.Binding(
      socket: key, address: local.address, isDual: isDual,
      reuseAddress: reuseAddress || socket.pointee.options.reuseAddress, reusePort: socket.pointee.options.reusePort)
    let choosesPort = local.port != 0
    var local = local
    func lingers(_ port: UInt16) -> Bool {
      !binding.reuseAddress && !binding.reusePort
        && stack.hasConnections(network.interface, on: Endpoint(address: local.address, port: port))
    }
    if choosesPort, lingers(local.port) { return EADDRINUSE }
    if !choosesPort {
      guard let port = network.ports.bindEphemeral(binding, lingers: lingers) else { return EADDRINUSE }
      local.port = port
    } else if !network.ports.bind(binding, port: local.port) {
      releaseEndedDirect(network: network.number, port: local.port)
      guard network.ports.bind(binding, port: local.port) else { return EADDRINUSE }
    }
    socket.pointee.boundPort = local.port
    socket.pointee.choosesPort = choosesPort
    if !local.address.isAny { socket.pointee.boundAddress = local.address }
    socket.pointee.local = local
    return 0
  }

  /// Whether Linux binds to `address`: to what is the interface's, and to groups and broadcasts as well.
  private func isBindable(_ address: IPAddress, _ interface: NetworkInterface) -> Bool {
    address.isAny || interface.owns(address) || address.isMulticast && !address.isV6 || address.isLimitedBroadcast
      || interface.addresses.contains { $0.broadcast == address }
  }

  /// Whether a listener takes one more connection: those that wait in the stack, here, and on the pair stay within the
  /// backlog, plus one, as Linux counts (sk_acceptq_is_full).
  func admitsConnection(listener key: SlabKey) -> Bool {
    guard let socket = sockets.pointer(key), socket.pointee.state == .listening else { return false }
    let waiting =
      (socket.pointee.listener.map { stack.untaken($0) } ?? 0) + socket.pointee.acceptQueue.count
      + Pair.unreadRecords(daemon: socket.pointee.fd)
    let admits = waiting <= socket.pointee.backlog
    if !admits { count(\.backlogDrops) }
    return admits
  }

  /// Makes a pair for an accepted connection and sends the app its end.
  func acceptConnection(_ connection: SlabKey, listener leaderKey: SlabKey, defers mayDefer: Bool = true) {
    guard let ends = stack.endpoints(of: connection),
      let listenerKey = chooseSharer(leaderKey, hash: ends.remote.hashValue),
      let listener = sockets.pointer(listenerKey), listener.pointee.state == .listening
    else { return stack.abort(connection) }
    if mayDefer, defers(connection, leaderKey, listener) { return }
    guard let accepted = makeAccepted(by: listener, local: ends.local, remote: ends.remote),
      let socket = sockets.pointer(accepted.key)
    else { return stack.abort(connection) }
    socket.pointee.connection = connection
    stack.setOwner(accepted.key.bits, of: connection)
    socket.pointee.acceptedBy = listenerKey
    applyHabits(of: listener, to: socket, appEnd: accepted.appEnd)
    applyOptions(socket)
    offer(accepted, to: listenerKey, listener)
    armReceive(accepted.key, socket)
  }

  /// TCP_DEFER_ACCEPT: whether the connection waits for its first bytes, which `handle` will tell of.
  private func defers(_ connection: SlabKey, _ key: SlabKey, _ listener: UnsafeMutablePointer<Socket>) -> Bool {
    let seconds = listener.pointee.options.deferAcceptSeconds
    guard seconds > 0, stack.receivedBytes(connection) == 0 else { return false }
    deferred[connection] = (key, now + UInt64(seconds) * 1_000_000_000)
    retryLater()
    return true
  }

  /// Bytes have come, or the end: now the listener may see the connection.
  func acceptDeferred(_ connection: SlabKey, listener: SlabKey, _ events: StackEvents) {
    acceptConnection(connection, listener: listener, defers: false)
    if let owner = stack.owner(of: connection) { handle(events, of: connection, socket: SlabKey(bits: owner)) }
  }

  /// Those that have waited for long enough are accepted as they are.
  func endDeferring() {
    guard !deferred.isEmpty else { return }
    for (connection, entry) in deferred where entry.deadline <= now {
      deferred[connection] = nil
      acceptConnection(connection, listener: entry.socket, defers: false)
    }
    retryLater()
  }

  /// Makes pair and socket of an accepted connection; nil, and it is reported, where there is no room.
  func makeAccepted(
    by listener: UnsafeMutablePointer<Socket>, local: Endpoint, remote: Endpoint
  ) -> (key: SlabKey, appEnd: Int32)? {
    guard let pair = makePair(type: Int32(SOCK_STREAM.rawValue), for: "a connection from \(remote) is refused") else {
      return nil
    }
    Pair.setSendBuffer(pair.app, listener.pointee.options.pairSendBufferBytes)
    var socket = Socket(
      id: makeSocketID(), network: listener.pointee.network, family: listener.pointee.family, fd: pair.daemon,
      cookie: pair.cookie)
    socket.state = .connected
    socket.local = local
    socket.remote = remote
    socket.options = listener.pointee.options.inherited
    socket.appInode = nc_socket_inode(pair.app)
    socket.appProcess = listener.pointee.appProcess
    guard let key = sockets.insert(socket), let accepted = sockets.pointer(key) else {
      close(pair.daemon)
      close(pair.app)
      count(\.refusals)
      return nil
    }
    count(\.accepted)
    networkTable[accepted.pointee.network].socketsByCookie[pair.cookie] = key.bits
    nc_set_marks(pair.app, streamMarks(family: accepted.pointee.family))
    return (key, pair.app)
  }

  /// Queues an accepted connection for the app, with its record.
  func offer(
    _ accepted: (key: SlabKey, appEnd: Int32), to listenerKey: SlabKey, _ listener: UnsafeMutablePointer<Socket>
  ) {
    guard let socket = sockets.pointer(accepted.key) else { return }
    var record = nc_accept_record()
    record.magic = NC_RPC_MAGIC
    record.version = UInt16(NC_RPC_VERSION)
    socket.pointee.isOffered = Pair.markUnaccepted(daemon: socket.pointee.fd)
    record.unaccepted = socket.pointee.isOffered ? 1 : 0
    sendEarly(socket)
    record.socket_id = socket.pointee.id
    if let local = socket.pointee.local { record.local = nc_address(local) }
    if let remote = socket.pointee.remote { record.remote = nc_address(remote) }
    listener.pointee.acceptQueue.append(PendingAccept(appEnd: accepted.appEnd, record: record))
    sendAcceptRecords(listenerKey, listener)
  }

  /// Sends what waits to the app, as far as its end has room.
  func sendAcceptRecords(_ key: SlabKey, _ socket: UnsafeMutablePointer<Socket>) {
    while let next = socket.pointee.acceptQueue.first {
      let status = Descriptors.send(socket.pointee.fd, next.record, passing: next.appEnd)
      if status == -ETOOMANYREFS {  // unix(7): more descriptors in flight than RLIMIT_NOFILE
        refusedListeners.append(key)
        return retryLater()
      }
      if status == -EAGAIN {
        guard !socket.pointee.operations.contains(.writable) else { return }
        socket.pointee.operations.insert(.writable)
        ring.preparePoll(socket.pointee.fd, events: Int16(POLLOUT), token: socketToken(key, Operation.writable))
        return
      }
      socket.pointee.acceptQueue.removeFirst()
      close(next.appEnd)  // delivered, or lost with the listener
    }
    resumeAccepting(key, socket)
  }

  /// The last app end of a listener has closed: what nobody has accepted is reset (Linux: inet_csk_listen_stop).
  func closeListener(_ key: SlabKey, _ socket: UnsafeMutablePointer<Socket>) {
    retain(socket)
    for (connection, entry) in deferred where entry.socket == key {
      deferred[connection] = nil
      stack.abort(connection)
    }
    leaveSharers(key, socket)
    while let waiting = socket.pointee.acceptQueue.popFirst() { close(waiting.appEnd) }
    closeSocket(key, socket)
  }

  func makeSocketID() -> UInt64 {
    defer { nextSocketID += 1 }
    return nextSocketID
  }
}
