internal import CSocket
internal import Glibc
internal import LwipGlue
internal import NetcondRPC
internal import Slab

/// Socket options by RPC: what the app sets is kept (`SocketOptions`), and applied where it has an effect.
extension Daemon {
  /// Sets an option. Returns 0 or an errno.
  func setOption(
    _ request: nc_request, _ socket: UnsafeMutablePointer<Socket>, appEnd: Int32, _ reply: inout nc_reply
  ) -> Int32 {
    if request.asksToCoalesce, beginCoalescing(socket) {
      reply.argument.0 = 1
      return 0
    }
    let hadNoDelay = socket.pointee.options.noDelay
    let status = setOption(request, in: &socket.pointee.options, optionContext(socket))
    guard status == 0 else { return status }
    let (level, name, length, _) = request.argument
    let passed = withUnsafeBytes(of: request.data) { data in
      let value = UnsafeRawBufferPointer(rebasing: data.prefix(Int(length)))
      return passOption(level: level, name: name, value: value, of: socket)
    }
    guard passed == 0 else { return passed }
    applyOptions(socket)
    switch SocketOptions.Key(level: level, name: name) {
    case .socket(SO_SNDBUF), .tcp(25):  // TCP_NOTSENT_LOWAT
      // Before, the app's end must stay full.
      if socket.pointee.state == .connected {
        Pair.setSendBuffer(appEnd, socket.pointee.options.pairSendBufferBytes)
      }
    case .tcp(12):  // TCP_QUICKACK
      if socket.pointee.options.value(.tcp(12)) != 0, let connection = socket.pointee.connection {
        stack.acknowledgeNow(connection)
      }
    case .tcp(1) where !hadNoDelay && socket.pointee.options.noDelay: note(socket, \.noDelay)
    case .tcp(3) where socket.pointee.options.isCorked: note(socket, \.corks)
    default: break
    }
    return 0
  }

  /// The app corks each message, and will tell no more of it (docs/rpc.md, "Options that are not told").
  private func beginCoalescing(_ socket: UnsafeMutablePointer<Socket>) -> Bool {
    guard socket.pointee.state == .connected, socket.pointee.host == nil else { return false }
    socket.pointee.coalesces = true
    socket.pointee.options.values[.tcp(3)] = 0
    applyOptions(socket)
    note(socket, \.corks)
    return true
  }

  /// What an app does with one of a listener's connections it will do with the others.
  private func note(_ socket: UnsafeMutablePointer<Socket>, _ habit: WritableKeyPath<Habits, Int>) {
    guard let listener = socket.pointee.acceptedBy.flatMap({ sockets.pointer($0) }) else { return }
    listener.pointee.habits[keyPath: habit] += 1
  }

  /// What a stream's app end is marked with from the start (`NC_MARK_MADE` besides, where socket() made it).
  func streamMarks(family: Int32) -> Int32 {
    Int32(NC_MARK_STREAM) | (family == AF_INET6 ? Int32(NC_MARK_V6) : 0)
      | (options.spinNanoseconds > 0 ? Int32(NC_MARK_SPINS) : 0)
  }

  /// Of a stream that socket() makes.
  func newMarks(family: Int32) -> Int32 { streamMarks(family: family) | Int32(NC_MARK_MADE) }

  /// Begins an accepted connection as its app would have it.
  func applyHabits(of listener: UnsafeMutablePointer<Socket>, to socket: UnsafeMutablePointer<Socket>, appEnd: Int32) {
    let habits = listener.pointee.habits
    var marks: Int32 = 0
    if habits.noDelay >= Habits.leastNoDelay, !socket.pointee.options.noDelay {
      socket.pointee.options.values[.tcp(1)] = 1
      marks |= Int32(NC_MARK_NODELAY)
    }
    if habits.corks >= Habits.leastCorks, !socket.pointee.options.isCorked {
      socket.pointee.coalesces = true
      marks |= Int32(NC_MARK_COALESCES)
    }
    if marks != 0 { nc_set_marks(appEnd, streamMarks(family: socket.pointee.family) | marks) }
  }

  /// Gives the stack what the options of a connection, or of a listener, say.
  func applyOptions(_ socket: UnsafeMutablePointer<Socket>) {
    let options = socket.pointee.options
    if let listener = socket.pointee.listener {
      stack.apply(options.settings(towardsV6: socket.pointee.local?.address.isV6 == true), toListener: listener)
    }
    guard let connection = socket.pointee.connection else { return }
    stack.apply(options.settings(towardsV6: socket.pointee.remote?.address.isV6 == true), to: connection)
    // A message that is read before it is whole leaves in two parts. The second must not wait until the peer acknowledges the
    // first, which may take it 40 ms: uncorking sends what there is (tcp(7)).
    stack.setNoDelay(connection, options.noDelay || socket.pointee.coalesces)
    let times = options.keepaliveTimes
    stack.setKeepalive(
      connection, on: options.keepalive, idle: times.idle * 1000, interval: times.interval * 1000, count: times.count)
    if let bytes = options.receiveBufferBytes { Pair.setSendBuffer(socket.pointee.fd, bytes / 2) }
  }

  func setOption(_ request: nc_request, in options: inout SocketOptions, _ context: OptionContext) -> Int32 {
    let (level, name, length, flags) = request.argument
    guard length >= 0 else { return EINVAL }
    return withUnsafeBytes(of: request.data) { data in
      let given = UnsafeRawBufferPointer(rebasing: data.prefix(Int(length)))
      return options.set(
        level: level, name: name, data: flags & Int32(NC_OPTION_NULL) != 0 ? nil : given, length: Int(length),
        context: context)
    }
  }

  /// Reads an option. Returns 0 or an errno.
  func getOption(
    _ request: nc_request, _ socket: UnsafeMutablePointer<Socket>, _ reply: inout nc_reply
  ) -> Int32 {
    let (level, name, _, _) = request.argument
    if let status = readHostOption(level: level, name: name, of: socket, &reply) { return status }
    return getOption(request, of: socket.pointee.options, optionContext(socket), &reply) { fillTCPInfo(socket, $0) }
  }

  /// - Parameter info: fills in TCP_INFO.
  func getOption(
    _ request: nc_request, of options: SocketOptions, _ context: OptionContext, _ reply: inout nc_reply,
    info: (UnsafeMutableRawBufferPointer) -> Void
  ) -> Int32 {
    let (level, name, capacity, _) = request.argument
    guard capacity >= 0 else { return EINVAL }
    let count = withUnsafeMutableBytes(of: &reply.data) { data in
      if level == Int32(IPPROTO_TCP), name == 11, options.kind.transport == .stream {
        info(data)
        return min(Int(capacity), Self.tcpInfoBytes)
      }
      return options.get(level: level, name: name, into: data, capacity: Int(capacity), context: context)
    }
    guard count >= 0 else { return Int32(-count) }
    reply.argument.0 = Int32(count)
    return 0
  }

  /// Options of a socket whose connection is over: the daemon has let go of it, but the app may still ask, as it may on
  /// Linux. What was set is forgotten; nothing has an effect any more.
  /// - Returns: 0 or an errno; ENOTSOCK where `descriptor` is no app's end of this daemon's.
  func answerForEnded(_ request: nc_request, _ descriptor: Int32, _ reply: inout nc_reply) -> Int32 {
    let name = Pair.name(descriptor, ofOtherEnd: true)
    guard name.map({ $0.daemon_nonce == nonce && $0.type == UInt8(SOCK_STREAM.rawValue) }) ?? true,
      let family = name.map({ Int32($0.family) }) ?? Pair.markedFamily(descriptor)
    else { return ENOTSOCK }
    var options = SocketOptions(SocketKind(transport: .stream, isV6: family == AF_INET6))
    var context = OptionContext()
    context.localPort = Int32(name?.local.endpoint?.port ?? 0)
    context.phase = context.localPort == 0 ? .idle : .bound
    switch UInt32(request.op) {
    case NC_OP_SETSOCKOPT.rawValue: return setOption(request, in: &options, context)
    case NC_OP_GETSOCKOPT.rawValue:
      return getOption(request, of: options, context, &reply) { fillTCPInfo(state: 7, nil, $0) }  // TCP_CLOSE
    default: return ENOTSOCK
    }
  }

  /// The same for a socket that the daemon holds no end of: joined directly to another program's, or failed.
  func retainedOptionContext(_ direct: (local: nc_address, remote: nc_address)?) -> OptionContext {
    var context = OptionContext()
    context.phase = direct == nil ? .idle : .connected
    if let direct {
      context.localPort = Int32(UInt16(bigEndian: direct.local.port))
      context.pathMTU = 65_536  // as Linux's lo
      context.segmentBytes = 65_483
    }
    return context
  }

  /// What the options of a socket depend on.
  private func optionContext(_ socket: UnsafeMutablePointer<Socket>) -> OptionContext {
    let network = networkTable[socket.pointee.network]
    var context = OptionContext()
    context.phase =
      switch socket.pointee.state {
      case .new: socket.pointee.boundPort == nil ? .idle : .bound
      case .connecting: .connecting
      case .connected, .closing: .connected
      case .listening: .listening
      }
    let local = socket.pointee.local
    context.localPort = Int32(local?.port ?? 0)
    if context.phase == .bound || context.phase == .listening, let local {
      context.isBoundToV6Address = local.address.isV6 && !local.address.isAny
    }
    setNetwork(network, &context)
    if context.phase == .connected, let connection = socket.pointee.connection,
      let facts = stack.facts(of: connection)
    {
      context.pathMTU = Int32(facts.pathMTU)
      context.segmentBytes = Int32(facts.segmentBytes)
      context.windowLimit = stack.windowLimitBytes(connection).map { Int32(clamping: $0) }
    }
    return context
  }

  /// The interfaces and addresses that options may name.
  func setNetwork(_ network: Network, _ context: inout OptionContext) {
    context.networkNumber = UInt64(network.number) + 1
    context.interfaces = [
      OptionContext.Interface(name: "lo", index: Int32(NC_INTERFACE_INDEX_LO)),
      OptionContext.Interface(name: "nc0", index: Int32(NC_INTERFACE_INDEX_NETWORK)),
    ]
    context.ownsV4 = { address in
      withUnsafeBytes(of: address) { network.interface.owns(IPAddress(bytes: $0.baseAddress!, isV6: false)) }
    }
  }

  /// NC_OP_QUEUED: what the app has written that the peer has not acknowledged, and what was not sent at all; bytes. Those
  /// that still wait in the pair are both.
  func fillQueued(_ socket: UnsafeMutablePointer<Socket>, _ reply: inout nc_reply) {
    guard socket.pointee.state == .connected else { return }
    var inPair: Int32 = 0
    _ = ioctl(socket.pointee.fd, UInt(FIONREAD), &inPair)
    if let host = socket.pointee.host {
      let (all, unsent) = host.queuedBytes
      reply.argument.0 = inPair + all
      reply.argument.1 = inPair + unsent
      return
    }
    // Each block's marker is a byte too many.
    let inArena = socket.pointee.arena.flatMap { arenas?.queuedBytes(of: $0) } ?? 0
    let waiting =
      Int(inPair) + inArena + (socket.pointee.pending?.count ?? 0) + (socket.pointee.pendingBlock?.count ?? 0)
    let facts = socket.pointee.connection.flatMap { stack.facts(of: $0) } ?? ConnectionFacts()
    let unsent = waiting + Int(facts.unsentBytes)
    reply.argument.0 = Int32(clamping: unsent + Int(facts.unacknowledgedBytes))
    reply.argument.1 = Int32(clamping: unsent)
  }
}
