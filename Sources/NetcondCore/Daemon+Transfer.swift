internal import CSocket
internal import DequeModule
internal import Glibc
internal import Logging
internal import LwipGlue
internal import NetcondRPC
internal import Slab
internal import UringLoop

/// The way of the bytes: app → pair → stack (`armReceive`, `completeReceive`) and stack → pair → app (`armSend`,
/// `completeSend`), with their ends. Back pressure goes through: a pair is not read while the connection's send budget is
/// used up, and the connection's window opens only by what the pair has taken.
extension Daemon {
  /// The ring's operations on a socket.
  enum Operation {
    static let receive: UInt8 = 1, send: UInt8 = 2, hangUp: UInt8 = 3, writable: UInt8 = 4,
      hostV4: UInt8 = 5, hostV6: UInt8 = 6, readable: UInt8 = 7
  }

  func socketToken(_ key: SlabKey, _ operation: UInt8) -> Token {
    Token(kind: Kind.socket, operation: operation, owner: key.bits)
  }

  func completeSocket(_ key: SlabKey, operation: UInt8, _ completion: Completion) {
    guard let socket = sockets.pointer(key) else { preconditionFailure("a completion for a socket that is gone") }
    switch operation {
    case Operation.receive:
      socket.pointee.operations.remove(.receive)
      completeReceive(key, socket, completion)
    case Operation.send:
      socket.pointee.operations.remove(.send)
      completeSend(key, socket, completion.result)
    case Operation.hangUp:
      if !completion.more { socket.pointee.operations.remove(.hangUp) }
      completeHangUp(key, socket, completion)
    case Operation.writable:
      socket.pointee.operations.remove(.writable)
      if socket.pointee.state == .listening { sendAcceptRecords(key, socket) }
    case Operation.readable:
      socket.pointee.operations.remove(.readable)
      socket.pointee.isReadable = true
      if socket.pointee.state == .connected { armReceive(key, socket) }
    default: preconditionFailure("a socket has no operation \(operation)")
    }
    if let socket = sockets.pointer(key), socket.pointee.state == .closing { finishClosing(key, socket) }
  }

  // MARK: From the app

  /// Reads from the app, if the connection takes bytes.
  func armReceive(_ key: SlabKey, _ socket: UnsafeMutablePointer<Socket>) {
    if socket.pointee.host != nil { return resumeRelay(key, socket) }
    guard socket.pointee.state == .connected, !socket.pointee.appEnded, socket.pointee.ending == nil,
      socket.pointee.pending == nil,
      !socket.pointee.operations.contains(.receive), let connection = socket.pointee.connection
    else { return }
    let space = stack.sendSpace(connection)
    guard space >= stack.sendThreshold(connection) else { return }  // a `sent` event comes here again
    if socket.pointee.drains, !hasUnread(socket) {
      socket.pointee.appEnded = true
      // Bytes that the app will never get: it must not take the end for the whole.
      if stack.receivedBytes(connection) > 0 { socket.pointee.appError = ECONNRESET }
      return endConnection(key, socket)
    }
    if socket.pointee.sendsUrgent, !takeUrgent(key, socket, connection) { return }
    if socket.pointee.arena != nil { return receiveMarked(key, socket, connection) }
    socket.pointee.operations.insert(.receive)
    ring.prepareReceive(
      socket.pointee.fd, from: sendPool, maximumBytes: stack.chunkBytes(connection, upTo: Self.streamReceiveBytes),
      waits: !socket.pointee.sendsUrgent, token: socketToken(key, Operation.receive))
  }

  private func completeReceive(_ key: SlabKey, _ socket: UnsafeMutablePointer<Socket>, _ completion: Completion) {
    if let buffer = completion.bufferIndex {
      sendPool.take(buffer)
      if completion.result > 0, socket.pointee.state == .connected {
        if receiveMore(key, socket, into: buffer, count: Int(completion.result)) { armReceive(key, socket) }
        return
      }
      sendPool.release(buffer)
    }
    failReceive(key, socket, completion.result)
  }

  /// The outcome of a receive that brought no bytes: 0 or a negated errno.
  func failReceive(_ key: SlabKey, _ socket: UnsafeMutablePointer<Socket>, _ result: Int32) {
    guard socket.pointee.state == .connected else { return }
    switch -result {
    case 0: appEnded(key, socket)
    case ENOBUFS: starved.append(key)
    case EINTR, EAGAIN: armReceive(key, socket)
    case ECONNRESET:  // the app closed with bytes unread: TCP answers with RST
      socket.pointee.isAbandoned = true
      resetConnection(key, socket)
    case ECANCELED:
      if socket.pointee.drains || socket.pointee.sendsUrgent || socket.pointee.arena != nil { armReceive(key, socket) }
    default:
      log.error("socket \(socket.pointee.id): reading from the app: \(String(cString: strerror(-result)))")
      resetConnection(key, socket)
    }
  }

  /// Bytes of one app that are taken in a turn without the ring: others wait meanwhile.
  static let turnBytes = 256 * 1024

  /// Forwards `count` bytes that lie in `buffer`. In bulk, and of an app that corks each message, what has come meanwhile
  /// fills the buffer up first, so that it becomes one (super-)segment, and is then taken until nothing is left: by plain
  /// calls, which spare the ring's turn. Nothing is waited for.
  /// - Returns: whether the ring is to wait for more.
  private func receiveMore(
    _ key: SlabKey, _ socket: UnsafeMutablePointer<Socket>, into first: Int, count firstCount: Int
  ) -> Bool {
    var (buffer, count) = (first, firstCount)
    var total = 0
    while let connection = socket.pointee.connection {
      let chunk = stack.chunkBytes(connection, upTo: Self.streamReceiveBytes)
      var outcome: Int32 = 1
      let isBulk =
        (firstCount > Stack.sendCopybreakBytes || socket.pointee.coalesces) && !socket.pointee.sendsUrgent
      while isBulk, count < chunk, outcome > 0 {
        let more = recv(socket.pointee.fd, sendPool.address(buffer) + count, chunk - count, Int32(MSG_DONTWAIT))
        outcome = more < 0 ? -errno : Int32(more)
        count += max(0, more)
      }
      if count > 0 { forward(socket, sendPool.address(buffer), count: count) } else { sendPool.release(buffer) }
      // The end is behind what the stack has not taken yet, and is found again when it has.
      if outcome == 0, socket.pointee.pending != nil { return false }
      if outcome == 0 || (outcome < 0 && outcome != -EAGAIN) {
        failReceive(key, socket, outcome)
        return false
      }
      total += count
      guard isBulk, outcome > 0, total < Self.turnBytes, socket.pointee.pending == nil,
        stack.sendSpace(connection) >= stack.sendThreshold(connection), let next = sendPool.acquire()
      else { return true }
      (buffer, count) = (next, 0)
    }
    sendPool.release(buffer)
    return false
  }

  /// Hands bytes of a buffer to the stack, and one reference of that buffer; what it does not take waits in `pending`.
  func forward(_ socket: UnsafeMutablePointer<Socket>, _ address: UnsafeRawPointer, count: Int, more: Bool = false) {
    guard let connection = socket.pointee.connection else { return sendMemory.release(holding: address) }
    let taken = stack.write(
      connection, address, count: count, mayHold: sendMemory.mayHold(address), more: more)
    if taken < count {
      socket.pointee.pending = (address + taken, count - taken)
    } else {
      socket.pointee.pending = nil
      sendMemory.release(holding: address)
    }
  }

  private func forwardPending(_ socket: UnsafeMutablePointer<Socket>) {
    if let (address, count) = socket.pointee.pending { forward(socket, address, count: count) }
    guard socket.pointee.pending == nil, let (address, count) = socket.pointee.pendingBlock else { return }
    socket.pointee.pendingBlock = nil
    forward(socket, address, count: count)
  }

  private func appEnded(_ key: SlabKey, _ socket: UnsafeMutablePointer<Socket>) {
    socket.pointee.appEnded = true
    if Pair.isHungUp(socket.pointee.fd) { return appClosed(key, socket) }
    if let connection = socket.pointee.connection { stack.shutdownSend(connection) }
    armHangUp(key, socket)
  }

  /// Waits for the last app end to close, where no receive would tell.
  /// - Parameter once: the wait may also end when the app shuts down one way, which only a connected socket's can. It ends
  ///   by itself with the app's end, where a repeated one has to be cancelled: a walk through all that the ring waits for.
  func armHangUp(_ key: SlabKey, _ socket: UnsafeMutablePointer<Socket>, once: Bool = false) {
    guard !socket.pointee.operations.contains(.hangUp) else { return }
    socket.pointee.operations.insert(.hangUp)
    socket.pointee.repeatsHangUp = !once
    let token = socketToken(key, Operation.hangUp)
    if once {
      ring.preparePoll(socket.pointee.fd, events: 0, token: token)
    } else {
      ring.preparePollMultishot(socket.pointee.fd, events: 0, token: token)
    }
  }

  private func completeHangUp(_ key: SlabKey, _ socket: UnsafeMutablePointer<Socket>, _ completion: Completion) {
    if socket.pointee.state == .closing { return }
    // While a connection's bytes are received, the end comes behind them.
    if socket.pointee.state == .connected, !socket.pointee.appEnded, socket.pointee.host == nil { return }
    if completion.result > 0, completion.result & Int32(POLLHUP) != 0 { return appClosed(key, socket) }
    if !completion.more { armHangUp(key, socket) }  // shut down one way
  }

  /// No process has the app's end any more.
  func appClosed(_ key: SlabKey, _ socket: UnsafeMutablePointer<Socket>) {
    socket.pointee.isAbandoned = true
    if let host = socket.pointee.host, socket.pointee.state == .connected {
      return outsideAppClosed(key, socket, host)
    }
    switch socket.pointee.state {
    case .connected:
      // A send under way may have brought the app all there was, and its completion not be seen yet: that one tells what stays
      // unread. It comes, for a send to nobody fails.
      if socket.pointee.operations.contains(.send) { return }
      let hasUnread = socket.pointee.connection.map { stack.receivedBytes($0) > 0 } ?? false
      if (hasUnread && !socket.pointee.discards) || socket.pointee.options.resetsOnClose {
        resetConnection(key, socket)
      } else {
        endConnection(key, socket)
      }
    case .listening: closeListener(key, socket)
    case .connecting:
      retain(socket)
      closeSocket(key, socket)
    case .new: closeSocket(key, socket)
    case .closing: break
    }
  }

  /// Retries receives that found no buffer.
  func resumeStarved() {
    guard !starved.isEmpty, !sendPool.isExhausted else { return }
    for _ in 0..<starved.count {
      guard let key = starved.popFirst() else { return }
      if let socket = sockets.pointer(key) { armReceive(key, socket) }
    }
  }

  // MARK: To the app

  /// Writes received bytes to the app, straight from the frames' memory: by a plain call while the pair has room, and by
  /// the ring, which waits, when it is full.
  func armSend(_ key: SlabKey, _ socket: UnsafeMutablePointer<Socket>) {
    guard socket.pointee.state == .connected, socket.pointee.ending == nil,
      !socket.pointee.operations.contains(.send), let connection = socket.pointee.connection
    else { return }
    let slot = sendSlots.take()
    while true {
      if socket.pointee.discards { stack.consume(connection, bytes: stack.receivedBytes(connection)) }
      guard stack.receivedBytes(connection) > 0 else { break }
      let urgent = stack.bytesBeforeUrgent(connection)  // up to it, then it alone, out of band
      let (count, bytes) = stack.gather(
        connection, into: sendSlots[slot].vectors, limit: urgent.map { max(1, $0) } ?? .max)
      sendSlots.prepare(slot, count: count)
      let flags = Int32(MSG_DONTWAIT) | Int32(MSG_NOSIGNAL) | (urgent == 0 ? Int32(MSG_OOB) : 0)
      let sent = sendmsg(socket.pointee.fd, sendSlots[slot].message, flags)
      if sent == bytes {
        stack.consume(connection, bytes: sent)
        continue
      }
      if sent < 0, errno == EAGAIN {
        if widenPair(socket) { continue }
        socket.pointee.sendSlot = slot
        socket.pointee.operations.insert(.send)
        return ring.prepareSend(
          socket.pointee.fd, sendSlots[slot].message, outOfBand: urgent == 0, token: socketToken(key, Operation.send))
      }
      guard heedSend(key, socket, connection, sent < 0 ? -errno : Int32(sent)) else {
        return sendSlots.give(back: slot)
      }
    }
    sendSlots.give(back: slot)
    deliverEnd(key, socket)
  }

  /// Lets the pair hold more towards the app, once, where much is received: each time it is full costs two changes of processes. What
  /// the app has chosen (SO_RCVBUF) stays.
  private func widenPair(_ socket: UnsafeMutablePointer<Socket>) -> Bool {
    guard !socket.pointee.isWide, socket.pointee.options.receiveBufferBytes == nil else { return false }
    socket.pointee.isWide = true
    Pair.setSendBuffer(socket.pointee.fd, Pair.wideBytes)
    return true
  }

  /// What has come before the connection is accepted is there when it is.
  func sendEarly(_ socket: UnsafeMutablePointer<Socket>) {
    guard let connection = socket.pointee.connection, stack.receivedBytes(connection) > 0,
      stack.bytesBeforeUrgent(connection) == nil
    else { return }
    let slot = sendSlots.take()
    defer { sendSlots.give(back: slot) }
    sendSlots.prepare(slot, count: stack.gather(connection, into: sendSlots[slot].vectors).count)
    let sent = sendmsg(socket.pointee.fd, sendSlots[slot].message, Int32(MSG_DONTWAIT) | Int32(MSG_NOSIGNAL))
    if sent > 0 { stack.consume(connection, bytes: sent) }
  }

  private func completeSend(_ key: SlabKey, _ socket: UnsafeMutablePointer<Socket>, _ result: Int32) {
    if let slot = socket.pointee.sendSlot {
      sendSlots.give(back: slot)
      socket.pointee.sendSlot = nil
    }
    guard let connection = socket.pointee.connection, socket.pointee.state == .connected else { return }
    if let ending = socket.pointee.ending { return end(key, socket, ending) }
    if socket.pointee.isAbandoned {  // `appClosed` has waited for this
      if result > 0 { stack.consume(connection, bytes: Int(result)) }
      return appClosed(key, socket)
    }
    if heedSend(key, socket, connection, result) { armSend(key, socket) }
  }

  /// Draws the consequences of a send's outcome, bytes or a negated errno; whether to go on.
  private func heedSend(
    _ key: SlabKey, _ socket: UnsafeMutablePointer<Socket>, _ connection: SlabKey, _ result: Int32
  ) -> Bool {
    if result > 0 { stack.consume(connection, bytes: Int(result)) }
    switch -result {
    case ...0, EINTR, EAGAIN, ENOBUFS, ENOMEM: return true
    case EPIPE, ECONNRESET:
      if Pair.isHungUp(socket.pointee.fd) {  // closed with bytes unread
        socket.pointee.isAbandoned = true
        resetConnection(key, socket)
        return false
      }
      socket.pointee.discards = true
      return true
    case ECANCELED: return false
    case EOPNOTSUPP:  // a kernel without urgent data on unix sockets (CONFIG_AF_UNIX_OOB, Linux 5.15)
      stack.forgetUrgent(connection)
      return true
    default:
      log.error("socket \(socket.pointee.id): writing to the app: \(String(cString: strerror(-result)))")
      resetConnection(key, socket)
      return false
    }
  }

  /// All received bytes are with the app: now the app may see the end.
  private func deliverEnd(_ key: SlabKey, _ socket: UnsafeMutablePointer<Socket>) {
    if socket.pointee.connectionLost {
      resetConnection(key, socket)
    } else if socket.pointee.peerEnded, !socket.pointee.peerEndDelivered {
      socket.pointee.peerEndDelivered = true
      shutdown(socket.pointee.fd, Int32(SHUT_WR))
    }
  }

  // MARK: The stack's events

  func handle(_ events: StackEvents, of connection: SlabKey, socket key: SlabKey) {
    if let listener = deferred[connection] {
      guard !events.isDisjoint(with: [.received, .endOfStream, .failed]) else { return }
      deferred[connection] = nil
      if events.contains(.failed) { return stack.abort(connection) }
      return acceptDeferred(connection, listener: listener.socket, events)
    }
    guard let socket = sockets.pointer(key), socket.pointee.connection == connection else {
      return stack.abort(connection)  // its socket is gone already
    }
    if events.contains(.established) { connected(key, socket) }
    if events.contains(.endOfStream) { socket.pointee.peerEnded = true }  // before a failure: a FIN never follows a RST
    if events.contains(.failed) {
      if socket.pointee.state == .connecting { return connectFailed(key, socket, stack.error(of: connection)) }
      socket.pointee.connectionLost = true
      let error = stack.error(of: connection)
      socket.pointee.appError = error == ECONNRESET && socket.pointee.peerEnded ? EPIPE : error  // as tcp_reset
    }
    if events.contains(.sent) {
      forwardPending(socket)
      armReceive(key, socket)
    }
    guard let socket = sockets.pointer(key) else { return }  // draining may have ended it
    if !events.isDisjoint(with: [.received, .endOfStream, .failed]) { armSend(key, socket) }
  }

  // MARK: Ends

  /// FIN behind all that was written; the rest goes on inside the stack.
  private func endConnection(_ key: SlabKey, _ socket: UnsafeMutablePointer<Socket>) { end(key, socket, .inOrder) }

  func resetConnection(_ key: SlabKey, _ socket: UnsafeMutablePointer<Socket>) { end(key, socket, .reset) }

  private func end(_ key: SlabKey, _ socket: UnsafeMutablePointer<Socket>, _ ending: Ending) {
    if socket.pointee.operations.contains(.send) {
      socket.pointee.ending = ending
      ring.prepareCancel(socketToken(key, Operation.send), token: cancelToken)
      return
    }
    if let connection = socket.pointee.connection {
      if ending == .reset { stack.abort(connection) } else { stack.close(connection) }
      socket.pointee.connection = nil
    }
    closeSocket(key, socket)
  }

  /// Closes the daemon's end as soon as no operation holds it. The connection must have been dealt with.
  func closeSocket(_ key: SlabKey, _ socket: UnsafeMutablePointer<Socket>) {
    guard socket.pointee.state != .closing else { return }
    // An app may ask for the addresses of a connection that is over: the name stays readable.
    if socket.pointee.state == .connected, !socket.pointee.isAbandoned { nameConnection(socket) }
    if let connection = socket.pointee.connection {
      stack.abort(connection)
      socket.pointee.connection = nil
    }
    socket.pointee.state = .closing
    notePreparedTaken(key, socket)
    returnBorrowedEnd(key, socket)
    if let (address, _) = socket.pointee.pending {
      sendMemory.release(holding: address)
      socket.pointee.pending = nil
    }
    releaseArena(socket)
    if let host = socket.pointee.host { closeOutside(key, host) }
    let network = networkTable[socket.pointee.network]
    if let port = socket.pointee.boundPort { network.ports.release(key, port: port) }
    network.socketsByCookie[socket.pointee.cookie] = nil
    cancelOperations(key, socket)
    finishClosing(key, socket)
  }

  private func cancelOperations(_ key: SlabKey, _ socket: UnsafeMutablePointer<Socket>) {
    let operations: [(SocketOperations, UInt8)] = [
      (.receive, Operation.receive), (.send, Operation.send), (.hangUp, Operation.hangUp),
      (.writable, Operation.writable), (.readable, Operation.readable),
    ]
    // These complete when the app's end has closed.
    var ending: SocketOperations = socket.pointee.isAbandoned ? [.receive, .readable, .hangUp] : []
    if socket.pointee.repeatsHangUp { ending.remove(.hangUp) }
    for (operation, code) in operations where socket.pointee.operations.subtracting(ending).contains(operation) {
      ring.prepareCancel(socketToken(key, code), token: cancelToken)
    }
  }

  /// The daemon ends: what the app has written goes out, then FIN.
  func drain(_ key: SlabKey) {
    guard let socket = sockets.pointer(key) else { return }
    switch socket.pointee.state {
    case .connected:
      socket.pointee.drains = true
      if let host = socket.pointee.host { return drainOutside(key, socket, host) }
      if socket.pointee.operations.contains(.receive) {
        ring.prepareCancel(socketToken(key, Operation.receive), token: cancelToken)
      } else {
        armReceive(key, socket)
      }
    case .listening: closeListener(key, socket)
    case .new, .connecting: closeSocket(key, socket)
    case .closing: break
    }
  }

  /// The app has written bytes that were not read yet.
  func hasUnread(_ socket: UnsafeMutablePointer<Socket>) -> Bool {
    var byte: UInt8 = 0
    return recv(socket.pointee.fd, &byte, 1, Int32(MSG_PEEK) | Int32(MSG_DONTWAIT)) > 0
  }
}
