internal import Glibc
internal import LwipGlue
internal import NetcondRPC
internal import Slab

/// Sockets that the daemon holds no end of any more, but an app may still have (`RetainedSockets`).
extension Daemon {
  /// Keeps what a later connect or listen on the same descriptor needs.
  func retain(_ socket: UnsafeMutablePointer<Socket>) {
    // Only what the app chose stays (SOCK_BINDPORT_LOCK, SOCK_BINDADDR_LOCK).
    let port = socket.pointee.choosesPort ? socket.pointee.local?.port : 0
    var bound: Endpoint?
    if let local = socket.pointee.local, let port, port != 0 || socket.pointee.boundAddress != nil {
      let any: IPAddress = local.address.isV6 ? .anyV6 : .anyV4
      bound = Endpoint(address: socket.pointee.boundAddress ?? any, port: port)
    }
    let entry = RetainedSockets.Entry(
      options: socket.pointee.options, bound: bound, local: localAfterEnd(socket))
    retained.keep(entry, for: socket.pointee.cookie)
  }

  /// What getsockname() says once a socket is idle again: Linux keeps the port that was spoken from, and of the address only
  /// what bind() chose (tcp_disconnect).
  func localAfterEnd(_ socket: UnsafeMutablePointer<Socket>) -> Endpoint? {
    socket.pointee.local.map {
      let any: IPAddress = $0.address.isV6 ? .anyV6 : .anyV4
      return Endpoint(address: socket.pointee.boundAddress ?? any, port: $0.port)
    }
  }

  /// What a fresh socket is to take over from the one that `descriptor` is; the old one gives up its port.
  func takeModel(_ descriptor: Int32, network: Network) -> RetainedSockets.Entry? {
    if let key = findSocket(descriptor, network: network), let socket = sockets.pointer(key) {
      // Shut down by the app just now: the completion that tells of it is on its way.
      if socket.pointee.state == .listening || socket.pointee.state == .connecting, Pair.isHungUp(socket.pointee.fd) {
        appClosed(key, socket)
      } else {
        retain(socket)
        if let port = socket.pointee.boundPort { network.ports.release(key, port: port) }
        socket.pointee.boundPort = nil
      }
    }
    return Pair.cookie(descriptor).flatMap { retained[$0] }
  }

  func apply(_ model: RetainedSockets.Entry, to key: SlabKey, _ socket: UnsafeMutablePointer<Socket>) {
    socket.pointee.options = model.options
    socket.pointee.formerLocal = model.local
    if let bound = model.bound { _ = bind(key, socket, to: bound, reuseAddress: true, user: 0) }
  }

  /// SO_LINGER with 0 seconds on an end of a direct connection: it is to reset at close. A pair does where bytes are unread;
  /// an urgent one, sent from the other end, is such a byte and yet nothing that a read finds.
  private func prepareReset(_ entry: inout RetainedSockets.Entry) {
    guard let other = entry.other, let fd = appEnds.borrow(inode: other.inode, process: other.process) else { return }
    defer { close(fd) }
    entry.other = nil
    var byte: UInt8 = 0
    send(fd, &byte, 1, Int32(MSG_OOB) | Int32(MSG_DONTWAIT) | Int32(MSG_NOSIGNAL))
  }

  /// Answers a request about an app's end that is no socket of the daemon's any more; nil where it never was one.
  func performRetained(_ request: nc_request, _ descriptor: Int32, _ reply: inout nc_reply) -> Int32? {
    guard let cookie = Pair.cookie(descriptor) else { return nil }
    let direct = Pair.directNames(descriptor, nonce: nonce)
    guard direct != nil || retained[cookie] != nil else { return nil }
    let named = Pair.name(descriptor, ofOtherEnd: true) ?? Pair.name(descriptor, ofOtherEnd: false)
    let family = named.map { Int32($0.family) } ?? Pair.markedFamily(descriptor)
    let kind = SocketKind(transport: .stream, isV6: family == AF_INET6)
    var entry = retained[cookie] ?? RetainedSockets.Entry(options: SocketOptions(kind))
    let context = retainedOptionContext(direct)
    switch UInt32(request.op) {
    case NC_OP_SETSOCKOPT.rawValue where request.asksToCoalesce:
      reply.argument.0 = 1  // a pair has no segments
      return 0
    case NC_OP_SETSOCKOPT.rawValue:
      let status = setOption(request, in: &entry.options, context)
      if status == 0, entry.options.resetsOnClose { prepareReset(&entry) }
      if status == 0 { retained.keep(entry, for: cookie) }
      return status
    case NC_OP_GETSOCKOPT.rawValue:
      return getOption(request, of: entry.options, context, &reply) { data in
        // The state, and what a wire without a link would tell.
        let state: UInt8 = direct == nil ? 7 : 1  // TCP_CLOSE, TCP_ESTABLISHED
        fillTCPInfo(state: state, ConnectionFacts(), data)
      }
    case NC_OP_NAMES.rawValue:
      if let (local, remote) = direct { (reply.local, reply.remote) = (local, remote) }
      return 0
    case NC_OP_CONNECT.rawValue: return direct == nil ? EINVAL : EISCONN
    case NC_OP_BIND.rawValue, NC_OP_LISTEN.rawValue: return EINVAL
    case NC_OP_QUEUED.rawValue: return 0  // what is sent has arrived
    case NC_OP_URGENT.rawValue: return direct == nil ? ENOTCONN : 0  // the two ends' own
    default: return EOPNOTSUPP
    }
  }
}
