internal import CSocket
internal import Glibc
internal import LwipGlue
internal import NetcondRPC
internal import Slab
internal import UringLoop

/// Datagram sockets: making, binding, connecting and ending them. Their addresses follow Linux's inet_bind, inet6_bind,
/// ping_bind, ip4_datagram_connect and __udp_disconnect.
extension Daemon {
  // MARK: Making

  /// What socket() asks for, as far as it is a datagram socket or none at all (inet_create): its protocol, or an errno.
  static func datagramProtocol(family: Int32, type: Int32, number: Int32) throws(StackError) -> DatagramProtocol {
    let isV6 = family == AF_INET6
    guard type == Int32(SOCK_DGRAM.rawValue) else {
      guard type == Int32(SOCK_RAW.rawValue) else { throw StackError(ESOCKTNOSUPPORT) }
      throw StackError(number == 0 ? EPROTONOSUPPORT : EPERM)  // raw sockets are for the privileged
    }
    switch number {
    case 0, Int32(IPPROTO_UDP): return .udp
    case Int32(IPPROTO_ICMP) where !isV6: return .icmp
    case Int32(IPPROTO_ICMPV6) where isV6: return .icmpV6
    default: throw StackError(EPROTONOSUPPORT)
    }
  }

  /// Makes a socket and its pair. Returns the app's end, or nil with the reply's status set.
  func makeDatagramSocket(
    _ kind: DatagramProtocol, family: Int32, network: Network, process: Int32, reply: inout nc_reply
  ) -> Int32? {
    guard let pair = makePair(type: Int32(SOCK_SEQPACKET.rawValue), for: "a socket is refused") else {
      reply.status = ENFILE
      return nil
    }
    let socket = DatagramSocket(
      id: makeSocketID(), network: network.number, family: family, kind: kind, fd: pair.daemon,
      cookie: pair.cookie, process: process)
    guard let key = datagrams.insert(socket), let made = datagrams.pointer(key) else {
      Pair.close((pair.daemon, pair.app))
      count(\.refusals)
      reply.status = ENFILE
      return nil
    }
    Pair.bindName(pair.daemon, name(of: made))
    Pair.setSendBuffer(pair.app, Pair.datagramBufferBytes)
    Pair.setSendBuffer(pair.daemon, Pair.datagramBufferBytes)
    network.datagramsByCookie[pair.cookie] = key.bits
    armDatagramReceive(key, made)
    return pair.app
  }

  private func name(of socket: UnsafeMutablePointer<DatagramSocket>) -> nc_name {
    var name = nc_name()
    name.state = UInt8(NC_STATE_DATAGRAM.rawValue)
    name.family = UInt8(socket.pointee.family)
    name.type = UInt8(SOCK_DGRAM.rawValue)
    name.protocol = UInt16(socket.pointee.kind.rawValue)
    name.daemon_nonce = nonce
    name.socket_id = socket.pointee.id
    return name
  }

  func fillNames(_ socket: UnsafeMutablePointer<DatagramSocket>, _ reply: inout nc_reply) {
    if let local = outsideName(socket) ?? socket.pointee.local { reply.local = nc_address(local) }
    if let peer = socket.pointee.peer { reply.remote = nc_address(peer) }
  }

  // MARK: Binding

  /// Binds a socket. Returns 0 or an errno.
  /// - Parameter user: the user id of the program that asks.
  func bind(
    _ key: SlabKey, _ socket: UnsafeMutablePointer<DatagramSocket>, to local: Endpoint, reuseAddress: Bool, user: UInt32
  ) -> Int32 {
    let interface = networkTable[socket.pointee.network].interface!
    let address = local.address
    if socket.pointee.isV6, !address.isV6, socket.pointee.settings.isV6Only { return EINVAL }
    if !socket.pointee.isV6, address.isV6 { return EAFNOSUPPORT }
    if networkTable[socket.pointee.network].hostPolicy.bindsOutside(address, of: interface) {
      return bindOutside(key, socket, to: local, reuseAddress: reuseAddress, user: user)
    }
    let isGroup = address.isMulticast || interface.isBroadcast(address)
    guard address.isAny || interface.owns(address) || isGroup && socket.pointee.kind == .udp else {
      return EADDRNOTAVAIL
    }
    guard socket.pointee.local == nil else { return EINVAL }
    let binding = socket.pointee.binding(key, address, reusesAddress: reuseAddress)
    guard let port = take(socket, binding, port: local.port) else { return EADDRINUSE }
    socket.pointee.local = Endpoint(address: address, port: port)
    socket.pointee.keepsAddress = !address.isAny
    socket.pointee.keepsPort = local.port != 0
    return 0
  }

  /// Gives an unbound socket a port, as a first send does. Returns 0 or EAGAIN.
  func autobind(_ key: SlabKey, _ socket: UnsafeMutablePointer<DatagramSocket>) -> Int32 {
    guard socket.pointee.local == nil else { return 0 }
    let any = socket.pointee.anyAddress
    let binding = socket.pointee.binding(key, any, reusesAddress: false)
    guard let port = take(socket, binding, port: 0) else { return EAGAIN }
    socket.pointee.local = Endpoint(address: any, port: port)
    return 0
  }

  private func take(
    _ socket: UnsafeMutablePointer<DatagramSocket>, _ binding: DatagramTable.Binding, port: UInt16
  ) -> UInt16? {
    withTable(socket) { table in
      if port == 0 { return table.bindEphemeral(binding) }
      return table.bind(binding, port: port) ? port : nil
    }
  }

  private func withTable<Result>(
    _ socket: UnsafeMutablePointer<DatagramSocket>, _ body: (inout DatagramTable) -> Result
  ) -> Result {
    let network = networkTable[socket.pointee.network]
    return socket.pointee.kind == .udp ? body(&network.udp) : body(&network.identifiers)
  }

  /// Tells the table what has changed.
  func updateBinding(_ key: SlabKey, _ socket: UnsafeMutablePointer<DatagramSocket>) {
    guard let local = socket.pointee.local else { return }
    let (peer, settings) = (socket.pointee.peer, socket.pointee.settings)
    withTable(socket) {
      $0.update(key, port: local.port) { binding in
        binding.address = local.address
        binding.peer = peer
        binding.reusesAddress = settings.reusesAddress
        binding.reusesPort = settings.reusesPort
      }
    }
  }

  // MARK: Connecting

  /// Gives the socket a peer. Returns 0 or an errno.
  func connect(_ key: SlabKey, _ socket: UnsafeMutablePointer<DatagramSocket>, to remote: Endpoint) -> Int32 {
    if sendsOutside(socket, remote.address) { return connectOutside(key, socket, to: remote) }
    if socket.pointee.peerIsOutside { disconnectOutside(socket) }
    let status = autobind(key, socket)
    guard status == 0, let local = socket.pointee.local else { return status }
    do {
      let way = try route(socket, to: remote, from: nil)
      socket.pointee.peer = way.destination
      if local.address.isAny { socket.pointee.local = Endpoint(address: way.source.address, port: local.port) }
      updateBinding(key, socket)
      return 0
    } catch {
      return error.code
    }
  }

  /// connect() with AF_UNSPEC: the peer goes, and what bind() did not give goes too.
  func disconnect(_ key: SlabKey, _ socket: UnsafeMutablePointer<DatagramSocket>) {
    socket.pointee.peer = nil
    if socket.pointee.peerIsOutside { disconnectOutside(socket) }
    if socket.pointee.isHostBound { return }
    guard let local = socket.pointee.local else { return }
    if !socket.pointee.keepsAddress {
      socket.pointee.local = Endpoint(address: socket.pointee.anyAddress, port: local.port)
    }
    updateBinding(key, socket)
    if !socket.pointee.keepsPort {
      withTable(socket) { $0.release(key, port: local.port) }
      socket.pointee.local = nil
    }
  }

  // MARK: Routes

  /// The way a datagram goes: addresses and ports.
  struct Route {
    let source: Endpoint
    let destination: Endpoint
    var isV6: Bool { destination.address.isV6 }
  }

  /// Where a datagram of a bound socket goes and where it speaks from, or why it cannot be sent (udp_sendmsg,
  /// udpv6_sendmsg, ip_route_output_key).
  /// - Parameters:
  ///   - peer: nil: the socket's.
  ///   - wanted: the source that a control message asked for.
  func route(
    _ socket: UnsafeMutablePointer<DatagramSocket>, to peer: Endpoint?, from wanted: IPAddress?
  ) throws(StackError) -> Route {
    let interface = networkTable[socket.pointee.network].interface!
    guard var destination = peer ?? socket.pointee.peer else { throw StackError(EDESTADDRREQ) }
    let isV6 = destination.address.isV6
    if !isV6, socket.pointee.isV6, socket.pointee.settings.isV6Only { throw StackError(ENETUNREACH) }
    guard isV6 == socket.pointee.isV6 || (!isV6 && socket.pointee.kind == .udp) else { throw StackError(EAFNOSUPPORT) }
    if destination.address.isAny { destination.address = isV6 ? .loopbackV6 : .loopbackV4 }
    if socket.pointee.kind != .udp { destination.port = 0 }
    var source = wanted ?? socket.pointee.sourceAddress(interface)
    if let wanted, !interface.owns(wanted) { throw StackError(isV6 ? EINVAL : ENETUNREACH) }
    if let own = source, own.isV6 != isV6 {
      // Bound to an address of IPv6, it has no way to IPv4; the other way round the destination is not for it.
      throw StackError(isV6 ? EAFNOSUPPORT : ENETUNREACH)
    }
    if !isV6, interface.isBroadcast(destination.address), !socket.pointee.settings.mayBroadcast {
      throw StackError(EACCES)
    }
    let route = try interface.datagramSource(for: destination.address)
    if source == nil, destination.address.isMulticast {
      source = multicastSource(socket, isV6: isV6)
    }
    if let own = source, !isV6, own.isLoopback, !destination.address.isLoopback, !interface.owns(destination.address) {
      throw StackError(EINVAL)  // a loopback address does not leave the host (__mkroute_output)
    }
    let port = socket.pointee.local?.port ?? 0
    return Route(source: Endpoint(address: source ?? route, port: port), destination: destination)
  }

  /// The source that IP_MULTICAST_IF gives.
  private func multicastSource(_ socket: UnsafeMutablePointer<DatagramSocket>, isV6: Bool) -> IPAddress? {
    guard !isV6, let address = socket.pointee.settings.multicastSource, !address.isAny else { return nil }
    return address
  }

  /// NC_OP_ROUTE: binds the socket, and says what a send of `bytes` bytes there fails with at once.
  func route(
    _ key: SlabKey, _ socket: UnsafeMutablePointer<DatagramSocket>, to peer: Endpoint?, from wanted: IPAddress?,
    bytes: Int, reply: inout nc_reply
  ) -> Int32 {
    if let target = peer ?? socket.pointee.peer, sendsOutside(socket, target.address) {
      return routeOutside(socket, to: target, bytes: bytes, reply: &reply)
    }
    let status = autobind(key, socket)
    guard status == 0 else { return status }
    if peer == nil, socket.pointee.peer == nil {
      fillNames(socket, &reply)
      return 0
    }
    do {
      let way = try route(socket, to: peer, from: wanted)
      reply.local = nc_address(way.source)
      let limit = largestPacket(socket, way)
      reply.argument.0 = Int32(clamping: limit.mtu)
      guard bytes + limit.overhead <= limit.bytes else {
        reportTooBig(socket, way, mtu: limit.mtu)
        return EMSGSIZE
      }
      return 0
    } catch {
      return error.code
    }
  }

  /// How long a packet on a way may be, with how many bytes of headers, and the way's MTU.
  private func largestPacket(
    _ socket: UnsafeMutablePointer<DatagramSocket>, _ way: Route
  ) -> (bytes: Int, overhead: Int, mtu: Int) {
    largestPacket(socket, isV6: way.isV6, mtu: mtu(to: way.destination.address, networkTable[socket.pointee.network]))
  }

  func largestPacket(
    _ socket: UnsafeMutablePointer<DatagramSocket>, isV6: Bool, mtu: Int
  ) -> (bytes: Int, overhead: Int, mtu: Int) {
    let overhead = (isV6 ? 40 : 20) + (socket.pointee.kind == .udp ? 8 : 0)
    let most = isV6 ? 65_575 : 65_535
    return (socket.pointee.settings.neverFragments(isV6: isV6) ? min(mtu, most) : most, overhead, mtu)
  }

  // MARK: Ending

  /// No process has the app's end any more, or the daemon ends.
  func closeDatagramSocket(_ key: SlabKey, _ socket: UnsafeMutablePointer<DatagramSocket>) {
    guard !socket.pointee.isClosing else { return }
    socket.pointee.isClosing = true
    leaveAll(socket)
    if let local = socket.pointee.local { withTable(socket) { $0.release(key, port: local.port) } }
    networkTable[socket.pointee.network].datagramsByCookie[socket.pointee.cookie] = nil
    for (isUnderWay, operation) in [
      (socket.pointee.isReceiving, Operation.receive), (socket.pointee.isWatching, Operation.hangUp),
    ] where isUnderWay {
      ring.prepareCancel(datagramToken(key, operation), token: cancelToken)
    }
    closeCompanions(key, socket)
    finishClosing(key, socket)
  }

  func finishClosing(_ key: SlabKey, _ socket: UnsafeMutablePointer<DatagramSocket>) {
    guard !socket.pointee.isReceiving, !socket.pointee.isWatching,
      !socket.pointee.hosts.contains(where: \.isPolling)
    else { return }
    closePair(socket.pointee.fd)
    _ = datagrams.remove(key)
  }
}
