internal import CSocket
internal import Glibc
internal import Logging
internal import LwipGlue
internal import NetcondRPC
internal import Slab
internal import UringLoop

/// Sockets that the host's stack serves: `outside=host` and `loopback=host` of a network.
///
/// Theory of operation: to the app nothing differs: its fd is the pair's end, filler, names, accept records and ends are
/// those of a virtual connection. Instead of a connection in the stack the socket has a `HostSocket`, and a `HostRelay`
/// moves the bytes. Which of the two it is to be is decided once, at connect or bind. What is bound to no address in
/// particular listens on the network only; a port of the network's is not one of the host's.
///
/// The host's sockets are the daemon's: in its network namespace, under its user. It does not lend what that user may
/// do: ports below ip_unprivileged_port_start only go to root, and no privileged option is passed on.
extension Daemon {
  // MARK: Connect

  /// Begins a connect through the host's stack; parameters and result as `connect`.
  func connectOutside(
    _ key: SlabKey, _ socket: UnsafeMutablePointer<Socket>, to remote: Endpoint, appEnd: Int32
  ) -> Int32 {
    let status = beginConnectOutside(key, socket, to: remote)
    guard status == 0 else {
      close(appEnd)
      return status
    }
    awaitOutcome(key, socket, to: remote, appEnd: appEnd)
    return EINPROGRESS
  }

  private func beginConnectOutside(
    _ key: SlabKey, _ socket: UnsafeMutablePointer<Socket>, to remote: Endpoint
  ) -> Int32 {
    // Bound to an address of the network's: from there no way leads outside.
    if socket.pointee.host == nil, let local = socket.pointee.local, !local.address.isAny { return ENETUNREACH }
    var (made, status): (HostSocket?, Int32) = (socket.pointee.host, 0)
    if made == nil { (made, status) = makeHostSocket(isV6: remote.address.isV6, socket) }
    guard let host = made else { return status }
    guard host.isV6 == remote.address.isV6 else { return ENETUNREACH }
    status = host.beginConnect(to: remote)
    guard status == 0 else { return status }
    socket.pointee.host = host
    socket.pointee.local = HostAddress.local(of: host.fd)
    host.isConnecting = true
    ring.preparePoll(host.fd, events: Int16(POLLOUT), token: hostToken(key, HostSocket.Operation.connect))
    return 0
  }

  /// A socket of the host's with the options that the app has set so far; or nil and an errno.
  private func makeHostSocket(isV6: Bool, _ socket: UnsafeMutablePointer<Socket>) -> (HostSocket?, Int32) {
    let fd = Glibc.socket(
      isV6 ? AF_INET6 : AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
    guard fd >= 0 else { return (nil, [EMFILE, ENFILE].contains(errno) ? ENOBUFS : errno) }
    let host = HostSocket(owning: fd, isV6: isV6)
    guard !isReserved(fd) else {
      reportExhaustion("a connection outside is refused")
      count(\.refusals)
      return (nil, ENOBUFS)
    }
    for option in socket.pointee.hostOptions { option.apply(to: fd, isV6: isV6) }
    return (host, 0)
  }

  private func completeConnectOutside(
    _ key: SlabKey, _ socket: UnsafeMutablePointer<Socket>, _ host: HostSocket, _ result: Int32
  ) {
    host.isConnecting = false
    guard socket.pointee.state == .connecting else { return }
    let error = result < 0 ? -result : host.takeError()
    guard error == 0, let remote = HostAddress.remote(of: host.fd) else {
      return connectFailed(key, socket, error == 0 ? ECONNRESET : error)  // reset between handshake and here
    }
    establish(key, socket, local: HostAddress.local(of: host.fd) ?? remote, remote: remote)
    startRelay(key, socket, host)
  }

  private func startRelay(_ key: SlabKey, _ socket: UnsafeMutablePointer<Socket>, _ host: HostSocket) {
    let relay = HostRelay(ring: ring, pool: sendPool, pair: socket.pointee.fd, host: host.fd) {
      Token(kind: Kind.host, operation: $0, owner: key.bits)
    }
    host.relay = relay
    armHangUp(key, socket)
    act(on: relay.resume(), key, socket)
  }

  // MARK: Bind, listen, accept

  /// Binds to an address of the host's. Returns 0 or an errno.
  /// - Parameter user: who asks; the daemon's own right to low ports is not lent.
  func bindOutside(
    _ socket: UnsafeMutablePointer<Socket>, to local: Endpoint, reuseAddress: Bool, user: UInt32
  ) -> Int32 {
    guard HostPolicy.mayBind(port: local.port, user: user) else { return EACCES }
    let (made, status) = makeHostSocket(isV6: local.address.isV6, socket)
    guard let host = made else { return status }
    if reuseAddress { HostOption.reuseAddress.apply(to: host.fd, isV6: host.isV6) }
    // Else it could share ports of the daemon's user.
    if user != geteuid() { HostOption.noReusePort.apply(to: host.fd, isV6: host.isV6) }
    guard HostAddress.with(local, { Glibc.bind(host.fd, $0, $1) }) == 0 else { return errno }
    host.isBound = true
    socket.pointee.host = host
    socket.pointee.local = HostAddress.local(of: host.fd)
    return 0
  }

  /// Listens, or changes the backlog. Returns 0 or an errno.
  func listenOutside(
    _ key: SlabKey, _ socket: UnsafeMutablePointer<Socket>, _ host: HostSocket, backlog: Int
  ) -> Int32 {
    guard Glibc.listen(host.fd, Int32(backlog)) == 0 else { return errno }
    socket.pointee.backlog = backlog
    guard socket.pointee.state == .new else { return 0 }
    socket.pointee.state = .listening
    socket.pointee.local = HostAddress.local(of: host.fd)
    Pair.bindName(socket.pointee.fd, name(of: socket, NC_STATE_LISTENING))
    resumeAccepting(key, socket)
    return 0
  }

  /// Takes connections while the app's end has room for them; what comes beyond waits in the host's backlog.
  func resumeAccepting(_ key: SlabKey, _ socket: UnsafeMutablePointer<Socket>) {
    guard let host = socket.pointee.host, socket.pointee.state == .listening, !host.isAccepting,
      socket.pointee.acceptQueue.isEmpty
    else { return }
    host.isAccepting = true
    ring.prepareAcceptMultishot(host.fd, token: hostToken(key, HostSocket.Operation.accept))
  }

  private func completeAcceptOutside(
    _ key: SlabKey, _ socket: UnsafeMutablePointer<Socket>, _ host: HostSocket, _ completion: Completion
  ) {
    if !completion.more { host.isAccepting = false }
    if completion.result >= 0 {
      acceptOutside(HostSocket(owning: completion.result, isV6: host.isV6), key, socket)
    } else if [-EMFILE, -ENFILE, -ENOMEM, -ENOBUFS].contains(completion.result) {
      reportExhaustion("a connection from outside waits")
      refusedListeners.append(key)
      return retryLater()
    }
    if socket.pointee.acceptQueue.isEmpty {
      resumeAccepting(key, socket)
    } else if host.isAccepting {
      ring.prepareCancel(hostToken(key, HostSocket.Operation.accept), token: cancelToken)
    }
  }

  private func acceptOutside(
    _ host: HostSocket, _ listenerKey: SlabKey, _ listener: UnsafeMutablePointer<Socket>
  ) {
    // A peer that is gone already has no name: dropped, as accept(2) drops it.
    guard listener.pointee.state == .listening, let remote = HostAddress.remote(of: host.fd),
      let local = HostAddress.local(of: host.fd)
    else { return host.resetOnClose() }
    guard !isReserved(host.fd) else {
      reportExhaustion("a connection from \(remote) is refused")
      count(\.refusals)
      return host.resetOnClose()
    }
    guard let accepted = makeAccepted(by: listener, local: local, remote: remote),
      let socket = sockets.pointer(accepted.key)
    else { return host.resetOnClose() }
    socket.pointee.host = host
    offer(accepted, to: listenerKey, listener)
    startRelay(accepted.key, socket, host)
  }

  // MARK: Completions and ends

  func hostToken(_ key: SlabKey, _ operation: UInt8) -> Token {
    Token(kind: Kind.host, operation: operation, owner: key.bits)
  }

  func completeHost(_ key: SlabKey, operation: UInt8, _ completion: Completion) {
    guard let socket = sockets.pointer(key), let host = socket.pointee.host else {
      preconditionFailure("a completion for a host's socket that is gone")
    }
    switch operation {
    case HostSocket.Operation.connect: completeConnectOutside(key, socket, host, completion.result)
    case HostSocket.Operation.accept: completeAcceptOutside(key, socket, host, completion)
    default:
      guard let relay = host.relay else { preconditionFailure("a host's socket has no operation \(operation)") }
      act(on: relay.complete(operation: operation, completion), key, socket)
    }
    if let socket = sockets.pointer(key), socket.pointee.state == .closing { finishClosing(key, socket) }
  }

  /// Retries a relay whose receive found no buffer.
  func resumeRelay(_ key: SlabKey, _ socket: UnsafeMutablePointer<Socket>) {
    guard let relay = socket.pointee.host?.relay, socket.pointee.state == .connected else { return }
    act(on: relay.resume(), key, socket)
  }

  private func act(on outcome: HostRelay.Outcome, _ key: SlabKey, _ socket: UnsafeMutablePointer<Socket>) {
    guard socket.pointee.state == .connected, let host = socket.pointee.host else { return }
    switch outcome {
    case .goesOn: break
    case .starved: starved.append(key)
    case .appEnded:
      socket.pointee.appEnded = true
      armHangUp(key, socket)
    case .ended(let ending):
      if ending == .reset || socket.pointee.options.resetsOnClose && !socket.pointee.drains { host.resetOnClose() }
      // Bytes that the app will never get: it must not take the end for the whole.
      if socket.pointee.drains, host.relay?.hasUndelivered == true { socket.pointee.appError = ECONNRESET }
      closeSocket(key, socket)
    case .lost(let error):
      socket.pointee.appError = error
      closeSocket(key, socket)
    }
  }

  /// No process has the app's end any more.
  func outsideAppClosed(_ key: SlabKey, _ socket: UnsafeMutablePointer<Socket>, _ host: HostSocket) {
    guard let relay = host.relay else { return closeSocket(key, socket) }
    if socket.pointee.options.resetsOnClose {
      act(on: .ended(.reset), key, socket)
    } else if relay.outwardHasEnded {
      act(on: relay.appClosed(), key, socket)
    }  // else what it wrote still goes out, and the receive behind it tells of the end
  }

  /// The daemon ends: what the app has written goes out, then FIN.
  func drainOutside(_ key: SlabKey, _ socket: UnsafeMutablePointer<Socket>, _ host: HostSocket) {
    if let relay = host.relay { act(on: relay.drain(), key, socket) }
  }

  /// Cancels what is under way on the host's socket; it closes with the intercepted one.
  func closeOutside(_ key: SlabKey, _ host: HostSocket) {
    if host.isConnecting { ring.prepareCancel(hostToken(key, HostSocket.Operation.connect), token: cancelToken) }
    if host.isAccepting {
      shutdown(host.fd, Int32(SHUT_RDWR))  // listens no more from now on, not only once the accept is cancelled
      ring.prepareCancel(hostToken(key, HostSocket.Operation.accept), token: cancelToken)
    }
    host.relay?.close()
  }

  /// The host's socket is about to close: bytes that came after the app's end are answered with RST.
  func finishOutside(_ host: HostSocket) {
    if let relay = host.relay, relay.hasUndelivered { host.resetOnClose() }
  }
}
