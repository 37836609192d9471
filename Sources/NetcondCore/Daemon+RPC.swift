internal import CSocket
internal import Glibc
internal import Logging
internal import LwipGlue
internal import NetcondRPC
internal import Slab
internal import UringLoop

/// The RPC socket's side of the daemon (docs/rpc.md). Whatever a client sends, it can lose only its own connection:
/// messages have one size, descriptors are closed unless a request takes them, answers never wait.
extension Daemon {
  /// How many requests of one client a turn takes.
  private static let requestsOfTurn = 64

  func addClient(fd: Int32, network: Network) {
    clientCount += 1
    guard let key = clients.insert(Client(fd: fd, network: network.number, number: clientCount)) else {
      count(\.refusals)
      return  // the Client closes the descriptor
    }
    receiveRequest(key)
  }

  private func receiveRequest(_ key: SlabKey) {
    guard let client = clients.pointer(key) else { return }
    client.pointee.reset()
    ring.prepareReceive(
      client.pointee.fd, client.pointee.message, token: Token(kind: Kind.client, operation: 0, owner: key.bits))
  }

  /// Ends an RPC connection; its memory lives until the receive under way has completed.
  func removeClient(_ key: SlabKey) {
    guard let client = clients.pointer(key) else { return }
    client.pointee.isClosing = true
    ring.prepareCancel(Token(kind: Kind.client, operation: 0, owner: key.bits), token: cancelToken)
  }

  /// What came of a client. Requests that nobody waits for the reply of, such as connects of a program that makes many, lie there one
  /// behind the other: they are taken together, not each in a turn of its own.
  func completeClient(_ key: SlabKey, _ completion: Completion) {
    var (result, left) = (completion.result, Self.requestsOfTurn)
    while result != -EINTR, result != -EAGAIN {
      guard let client = clients.pointer(key) else { return }
      guard result > 0, let isPosted = takeRequest(client, byteCount: Int(result)) else {
        endDispenser(client, family: AF_INET)
        endDispenser(client, family: AF_INET6)
        _ = clients.remove(key)
        return
      }
      left -= 1
      guard isPosted, left > 0 else { break }
      result = client.pointee.receiveNow()
    }
    receiveRequest(key)
  }

  /// Reads and answers the request that a client has received. Returns whether it was posted; nil where the connection is to end.
  private func takeRequest(_ client: UnsafeMutablePointer<Client>, byteCount: Int) -> Bool? {
    let (request, descriptors, isTruncated) = client.pointee.take()
    var owned = descriptors
    defer { for descriptor in owned { close(descriptor) } }
    // Magic and version stand first in every version, whatever the message's length.
    let isForeign = byteCount >= 8 && request.magic == NC_RPC_MAGIC && request.version != NC_RPC_VERSION
    guard !client.pointee.isClosing else { return nil }
    let isSound =
      isForeign
      || !isTruncated && byteCount == MemoryLayout<nc_request>.size && request.magic == NC_RPC_MAGIC
        && request.flags & ~UInt32(NC_REQUEST_POSTED) == 0 && descriptors.count <= 1
        && (request.cookie == 0 || request.isPosted && request.op == NC_OP_CONNECT.rawValue && descriptors.isEmpty)
    guard isSound else {
      count(\.protocolErrors)
      return nil
    }
    return answer(request, client: client, descriptors: &owned) ? request.isPosted : nil
  }

  /// Answers one request. Returns false where the connection is to end.
  private func answer(
    _ request: nc_request, client: UnsafeMutablePointer<Client>, descriptors: inout [Int32]
  ) -> Bool {
    var reply = nc_reply()
    reply.magic = NC_RPC_MAGIC
    reply.version = UInt16(NC_RPC_VERSION)
    reply.op = request.op
    reply.sequence = request.sequence
    guard request.version == NC_RPC_VERSION else {
      reply.status = EPROTO
      _ = Descriptors.send(client.pointee.fd, reply, passing: nil)
      log.warning(
        "a library of RPC version \(request.version) was refused; this daemon speaks version \(NC_RPC_VERSION)")
      return false
    }
    if request.op == UInt16(NC_OP_SOCKET.rawValue) {
      guard descriptors.count <= 1, descriptors.allSatisfy(Pair.isKnown) else { return false }
      let model = descriptors.first.flatMap { takeModel($0, network: networkTable[client.pointee.network]) }
      let appEnd = makeSocket(request, client, model: model, reply: &reply)
      defer { if let appEnd { close(appEnd) } }
      guard Descriptors.send(client.pointee.fd, reply, passing: appEnd) == 0 else { return false }
      if model == nil, request.argument.1 == Int32(SOCK_STREAM.rawValue) { noteDry(client, family: request.argument.0) }
      return true
    }
    if request.op == UInt16(NC_OP_DISPENSER.rawValue) {
      guard descriptors.isEmpty else { return false }
      let appEnd = openDispenser(request, client, &reply)
      defer { if let appEnd { close(appEnd) } }
      return Descriptors.send(client.pointee.fd, reply, passing: appEnd) == 0
    }
    if request.op == UInt16(NC_OP_REFILL.rawValue), request.isPosted {
      guard descriptors.isEmpty else { return false }
      refill(client, family: request.argument.0)
      return true
    }
    if request.op == UInt16(NC_OP_FACTS.rawValue) {
      guard descriptors.isEmpty else { return false }
      reply.status = fillFact(request, networkTable[client.pointee.network], &reply)
      return Descriptors.send(client.pointee.fd, reply, passing: nil) == 0
    }
    if request.cookie != 0 { return connectPrepared(request, client) }
    if descriptors.isEmpty, client.pointee.hasLostDescriptors {
      if request.isPosted { return true }
      reply.status = ENFILE  // the request's descriptor did not fit into our table
      return Descriptors.send(client.pointee.fd, reply, passing: nil) == 0
    }
    guard descriptors.count == 1 else { return false }
    let found = findSocket(descriptors[0], network: networkTable[client.pointee.network])
    if let key = found, let socket = sockets.pointer(key), socket.pointee.state != .closing {
      reply.status = perform(
        request, key, socket, user: client.pointee.user, descriptors: &descriptors, reply: &reply)
    } else if let key = findDatagramSocket(descriptors[0], network: networkTable[client.pointee.network]),
      let socket = datagrams.pointer(key)
    {
      reply.status = perform(request, key, socket, user: client.pointee.user, reply: &reply)
    } else {
      reply.status =
        performRetained(request, descriptors[0], &reply) ?? answerForEnded(request, descriptors[0], &reply)
    }
    if request.isPosted {
      refusePosted(request, found, status: reply.status)
      return true
    }
    // Shared memory is asked for by the socket's holder only, as all else.
    let arena =
      request.op == UInt16(NC_OP_ARENA.rawValue) && reply.status == 0
      ? found.flatMap { sockets.pointer($0)?.pointee.arena } : nil
    return Descriptors.send(client.pointee.fd, reply, passing: arena.flatMap { arenas?.descriptor(of: $0) }) == 0
  }

  /// A connect of a socket that was made ahead for this client, whose app's end the daemon still has. Returns false where it was made
  /// for another.
  private func connectPrepared(_ request: nc_request, _ client: UnsafeMutablePointer<Client>) -> Bool {
    guard let key = networkTable[client.pointee.network].socketsByCookie[request.cookie].map({ SlabKey(bits: $0) }),
      let socket = sockets.pointer(key), socket.pointee.state != .closing
    else { return true }  // it is over
    guard socket.pointee.preparedFor == client.pointee.number else {
      count(\.protocolErrors)
      return false
    }
    let held = socket.pointee.borrowedEnd
    socket.pointee.borrowedEnd = -1
    // Where it was given back already, the request has taken its time.
    let appEnd =
      held >= 0 ? held : appEnds.borrow(inode: socket.pointee.appInode, process: socket.pointee.appProcess)
    var lent = [appEnd ?? -1]
    var reply = nc_reply()
    let status = perform(request, key, socket, user: client.pointee.user, descriptors: &lent, reply: &reply)
    for appEnd in lent where appEnd >= 0 { close(appEnd) }
    refusePosted(request, key, status: status)
    // A second connect was lent the end of the first one.
    if socket.pointee.state == .connecting, socket.pointee.borrowedEnd < 0 { armHangUp(key, socket, once: true) }
    return true
  }

  /// A connect that nobody awaits the reply of has failed at once: so the socket tells, as of one that fails later.
  private func refusePosted(_ request: nc_request, _ key: SlabKey?, status: Int32) {
    guard request.op == UInt16(NC_OP_CONNECT.rawValue), status != EINPROGRESS, let key,
      let socket = sockets.pointer(key), socket.pointee.state == .new
    else { return }
    connectFailed(key, socket, status)
  }

  func findSocket(_ descriptor: Int32, network: Network) -> SlabKey? {
    Pair.cookie(descriptor).flatMap { network.socketsByCookie[$0] }.map { SlabKey(bits: $0) }
  }

  private func perform(
    _ request: nc_request, _ key: SlabKey, _ socket: UnsafeMutablePointer<Socket>, user: UInt32,
    descriptors: inout [Int32], reply: inout nc_reply
  ) -> Int32 {
    notePreparedTaken(key, socket)
    switch UInt32(request.op) {
    case NC_OP_BIND.rawValue:
      guard let local = request.address.endpoint else { return EAFNOSUPPORT }
      guard request.address.bindScopeError == 0 else { return request.address.bindScopeError }
      if isV6Only(socket), !local.address.isV6 { return EINVAL }
      let reuses = request.argument.0 & Int32(NC_BIND_REUSEADDR) != 0
      let status = bind(key, socket, to: local, reuseAddress: reuses, user: user)
      fillNames(socket, &reply)
      return status
    case NC_OP_LISTEN.rawValue:
      let status = listen(key, socket, backlog: request.argument.0)
      fillNames(socket, &reply)
      return status
    case NC_OP_CONNECT.rawValue:
      guard let remote = request.address.endpoint else { return EAFNOSUPPORT }
      let scopeError = request.address.connectScopeError(isBound: socket.pointee.local?.address.isLinkLocal == true)
      guard scopeError == 0 else { return scopeError }
      if isV6Only(socket), !remote.address.isV6 { return ENETUNREACH }
      return connect(key, socket, to: remote, appEnd: descriptors.removeLast())
    case NC_OP_NAMES.rawValue:
      fillNames(socket, &reply)
      if socket.pointee.state == .connected { nameConnection(socket) }
      return 0
    case NC_OP_SETSOCKOPT.rawValue: return setOption(request, socket, appEnd: descriptors[0], &reply)
    case NC_OP_URGENT.rawValue: return expectUrgent(key, socket)
    case NC_OP_ARENA.rawValue: return openArena(socket, key)
    case NC_OP_QUEUED.rawValue:
      fillQueued(socket, &reply)
      return 0
    case NC_OP_GETSOCKOPT.rawValue: return getOption(request, socket, &reply)
    default: return EOPNOTSUPP
    }
  }

  /// IPV6_V6ONLY: v4-mapped addresses are none of the socket's.
  private func isV6Only(_ socket: UnsafeMutablePointer<Socket>) -> Bool {
    socket.pointee.family == AF_INET6 && socket.pointee.options.isV6Only
  }

  private func fillNames(_ socket: UnsafeMutablePointer<Socket>, _ reply: inout nc_reply) {
    if let local = socket.pointee.local ?? socket.pointee.formerLocal { reply.local = nc_address(local) }
    if socket.pointee.state == .connected, let remote = socket.pointee.remote { reply.remote = nc_address(remote) }
  }

  /// Makes a socket and its pair. Returns the app's end, or nil with the reply's status set.
  private func makeSocket(
    _ request: nc_request, _ client: UnsafeMutablePointer<Client>, model: RetainedSockets.Entry?,
    reply: inout nc_reply
  ) -> Int32? {
    let network = networkTable[client.pointee.network]
    let (family, type, kind, _) = request.argument
    guard family == AF_INET || family == AF_INET6 else {
      reply.status = EAFNOSUPPORT
      return nil
    }
    guard type == Int32(SOCK_STREAM.rawValue) else {
      do {
        let protocolKind = try Self.datagramProtocol(family: family, type: type, number: kind)
        return makeDatagramSocket(
          protocolKind, family: family, network: network, process: client.pointee.process, reply: &reply)
      } catch {
        reply.status = error.code
        return nil
      }
    }
    guard kind == 0 || kind == Int32(IPPROTO_TCP) else {
      reply.status = EPROTONOSUPPORT
      return nil
    }
    guard let (key, appEnd) = makeStream(family: family, network: network, process: client.pointee.process) else {
      reply.status = ENFILE
      return nil
    }
    if let model, let made = sockets.pointer(key) { apply(model, to: key, made) }
    return appEnd
  }

  /// Makes a TCP socket and its pair, of which the app's end is the caller's; nil, and it is reported, where there is no room.
  /// - Parameter isFinished: false where the program itself fills and marks the app's end (`nc_prepared`), and the caller keeps one of
  ///   its own for now: so nobody can close the last.
  func makeStream(
    family: Int32, network: Network, process: Int32, isFinished: Bool = true
  ) -> (key: SlabKey, appEnd: Int32)? {
    guard let pair = makePair(type: Int32(SOCK_STREAM.rawValue), for: "a socket is refused") else { return nil }
    var socket = Socket(
      id: makeSocketID(), network: network.number, family: family, fd: pair.daemon, cookie: pair.cookie)
    socket.appInode = nc_socket_inode(pair.app)
    socket.appProcess = process
    if isFinished {
      socket.fillerBytes = Pair.fill(app: pair.app)
      nc_set_marks(pair.app, newMarks(family: family))
    } else {
      socket.fillerBytes = Pair.fillerBytes
    }
    guard let key = sockets.insert(socket), let made = sockets.pointer(key) else {
      close(pair.daemon)
      close(pair.app)
      count(\.refusals)
      return nil
    }
    network.socketsByCookie[pair.cookie] = key.bits
    if isFinished { armHangUp(key, made, once: true) }
    return (key, pair.app)
  }
}

extension nc_request {
  /// Whether the client awaits no reply. Only where that is meant: any other request is answered.
  var isPosted: Bool {
    flags & UInt32(NC_REQUEST_POSTED) != 0
      && [NC_OP_SETSOCKOPT, NC_OP_CONNECT, NC_OP_REFILL].contains { op == UInt16($0.rawValue) }
  }

  /// TCP_CORK is set by an app that corks each message.
  var asksToCoalesce: Bool {
    op == UInt16(NC_OP_SETSOCKOPT.rawValue) && argument.0 == Int32(IPPROTO_TCP) && argument.1 == 3
      && argument.3 & Int32(NC_OPTION_COALESCE) != 0
  }
}
