internal import CSocket
internal import Glibc
internal import Logging
internal import LwipGlue
internal import NetcondRPC
internal import Slab
internal import UringLoop

/// Datagrams through the host's stack: `outside=host` and `loopback=host` of a network.
///
/// Theory of operation: a datagram socket speaks to the network and to the outside as it likes, each datagram's
/// destination decides. For the outside it has companions, one of each family, made when first needed: what arrives there
/// goes into the pair as what arrives from the network does, and so do ICMP errors. The ring waits for the companions;
/// the calls on them never do. A companion has a port of its own, of the host's. A socket bound to an address of the host
/// is the host's alone.
extension Daemon {
  /// Datagrams or errors taken from a companion in one go: the others' turn comes after.
  private static let batch = 64

  /// Whether what a socket sends to `destination` goes through the host's stack.
  func sendsOutside(_ socket: UnsafeMutablePointer<DatagramSocket>, _ destination: IPAddress) -> Bool {
    let network = networkTable[socket.pointee.network]
    return socket.pointee.isHostBound || network.hostPolicy.sendsOutside(destination, of: network.interface)
  }

  // MARK: Binding and connecting

  /// Binds to an address of the host's. Returns 0 or an errno.
  func bindOutside(
    _ key: SlabKey, _ socket: UnsafeMutablePointer<DatagramSocket>, to local: Endpoint, reuseAddress: Bool,
    user: UInt32
  ) -> Int32 {
    guard socket.pointee.local == nil else { return EINVAL }
    guard HostPolicy.mayBind(port: local.port, user: user) else { return EACCES }
    do {
      let host = try makeHostDatagramSocket(isV6: local.address.isV6, socket)
      if reuseAddress { HostOption.reuseAddress.apply(to: host.fd, isV6: host.isV6) }
      if user != geteuid() { HostOption.noReusePort.apply(to: host.fd, isV6: host.isV6) }
      let status = host.bind(to: local)
      guard status == 0 else { return status }
      adopt(host, key, socket)
      socket.pointee.isHostBound = true
      socket.pointee.keepsAddress = true
      socket.pointee.keepsPort = local.port != 0
      socket.pointee.local = HostAddress.local(of: host.fd)
      return 0
    } catch {
      return error.code
    }
  }

  /// Gives the socket a peer outside. Returns 0 or an errno.
  func connectOutside(_ key: SlabKey, _ socket: UnsafeMutablePointer<DatagramSocket>, to remote: Endpoint) -> Int32 {
    do {
      let destination = try outsideDestination(socket, remote)
      let host = try companion(key, socket, isV6: destination.address.isV6)
      let status = host.connect(to: destination)
      guard status == 0 else { return status }
      socket.pointee.peer = destination
      socket.pointee.peerIsOutside = true
      if socket.pointee.isHostBound { socket.pointee.local = HostAddress.local(of: host.fd) }
      updateBinding(key, socket)  // the network's datagrams are not for it any more
      return 0
    } catch {
      return error.code
    }
  }

  /// The peer goes.
  func disconnectOutside(_ socket: UnsafeMutablePointer<DatagramSocket>) {
    for host in socket.pointee.hosts { host.disconnect() }
    socket.pointee.peerIsOutside = false
    if socket.pointee.isHostBound, let host = socket.pointee.hosts.first {
      socket.pointee.local = HostAddress.local(of: host.fd)
    }
  }

  /// The name that a socket with a peer outside has.
  func outsideName(_ socket: UnsafeMutablePointer<DatagramSocket>) -> Endpoint? {
    guard socket.pointee.peerIsOutside, let peer = socket.pointee.peer else { return nil }
    return socket.pointee.hosts.first { $0.isV6 == peer.address.isV6 }.flatMap { HostAddress.local(of: $0.fd) }
  }

  // MARK: Companions

  private func makeHostDatagramSocket(
    isV6: Bool, _ socket: UnsafeMutablePointer<DatagramSocket>
  ) throws(StackError) -> HostDatagramSocket {
    let fd = Glibc.socket(
      isV6 ? AF_INET6 : AF_INET, Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue),
      Int32(socket.pointee.kind.rawValue))
    guard fd >= 0 else { throw StackError([EMFILE, ENFILE].contains(errno) ? ENOBUFS : errno) }
    let host = HostDatagramSocket(owning: fd, isV6: isV6)
    guard !isReserved(fd) else {
      reportExhaustion("datagrams outside are refused")
      count(\.refusals)
      throw StackError(ENOBUFS)
    }
    for option in socket.pointee.hostOptions { option.apply(to: fd, isV6: isV6) }
    return host
  }

  private func adopt(_ host: HostDatagramSocket, _ key: SlabKey, _ socket: UnsafeMutablePointer<DatagramSocket>) {
    socket.pointee.hosts.append(host)
    arm(host, key)
  }

  private func arm(_ host: HostDatagramSocket, _ key: SlabKey) {
    host.isPolling = true
    ring.preparePoll(host.fd, events: Int16(POLLIN), token: datagramToken(key, Self.operation(of: host)))
  }

  private static func operation(of host: HostDatagramSocket) -> UInt8 {
    host.isV6 ? Operation.hostV6 : Operation.hostV4
  }

  /// The companion of a family, made where it is not there yet.
  private func companion(
    _ key: SlabKey, _ socket: UnsafeMutablePointer<DatagramSocket>, isV6: Bool
  ) throws(StackError) -> HostDatagramSocket {
    if let host = socket.pointee.hosts.first(where: { $0.isV6 == isV6 }) { return host }
    guard !socket.pointee.isHostBound else { throw StackError(ENETUNREACH) }  // bound to the other family
    let host = try makeHostDatagramSocket(isV6: isV6, socket)
    adopt(host, key, socket)
    return host
  }

  /// Checks and completes a destination as Linux does before it looks for a route.
  private func outsideDestination(
    _ socket: UnsafeMutablePointer<DatagramSocket>, _ peer: Endpoint
  ) throws(StackError) -> Endpoint {
    let isV6 = peer.address.isV6
    if !isV6, socket.pointee.isV6, socket.pointee.settings.isV6Only { throw StackError(ENETUNREACH) }
    guard isV6 == socket.pointee.isV6 || (!isV6 && socket.pointee.kind == .udp) else { throw StackError(EAFNOSUPPORT) }
    // Bound to an address of the network's: from there no way leads outside.
    if !socket.pointee.isHostBound, socket.pointee.keepsAddress { throw StackError(ENETUNREACH) }
    var destination = peer
    if destination.address.isAny { destination.address = isV6 ? .loopbackV6 : .loopbackV4 }
    if socket.pointee.kind != .udp { destination.port = 0 }
    return destination
  }

  // MARK: Sending

  /// What a send to `peer` would fail with at once: asked of the kernel by a connect of a socket for the purpose.
  func routeOutside(
    _ socket: UnsafeMutablePointer<DatagramSocket>, to peer: Endpoint, bytes: Int, reply: inout nc_reply
  ) -> Int32 {
    do {
      let destination = try outsideDestination(socket, peer)
      let isV6 = destination.address.isV6
      let probe = try makeHostDatagramSocket(isV6: isV6, socket)
      if socket.pointee.isHostBound, let own = socket.pointee.local {
        guard own.address.isV6 == isV6 else { return ENETUNREACH }
        _ = probe.bind(to: Endpoint(address: own.address, port: 0))
      }
      let target = Endpoint(address: destination.address, port: destination.port == 0 ? 1 : destination.port)
      let status = probe.connect(to: target)
      guard status == 0 else { return status }
      guard destination.port != 0 || socket.pointee.kind != .udp else { return EINVAL }
      if let source = HostAddress.local(of: probe.fd) { reply.local = nc_address(source) }
      let limit = largestPacket(socket, isV6: isV6, mtu: probe.pathMTU)
      reply.argument.0 = Int32(clamping: limit.mtu)
      return bytes + limit.overhead <= limit.bytes ? 0 : EMSGSIZE
    } catch {
      return error.code
    }
  }

  /// Sends an app's datagram through the host's stack.
  func sendOutside(
    _ payload: UnsafeRawBufferPointer, _ header: nc_datagram, _ key: SlabKey,
    _ socket: UnsafeMutablePointer<DatagramSocket>, to peer: Endpoint
  ) {
    do {
      let destination = try outsideDestination(socket, peer)
      let host = try companion(key, socket, isV6: destination.address.isV6)
      let way = Route(source: destination, destination: destination)
      let options = sendOptions(socket, header, way)
      var status = host.send(payload, to: destination, from: header.local.endpoint?.address, options: options)
      // Perhaps the error of an earlier datagram, told once: the poll takes its message out of the queue.
      if status != 0, status != EAGAIN {
        status = host.send(payload, to: destination, from: header.local.endpoint?.address, options: options)
      }
      if status != 0 { count(\.unsentDatagrams) }
    } catch {
      count(\.unsentDatagrams)
    }
  }

  // MARK: Receiving

  func completeHostDatagram(
    _ key: SlabKey, _ socket: UnsafeMutablePointer<DatagramSocket>, isV6: Bool, _ completion: Completion
  ) {
    guard let host = socket.pointee.hosts.first(where: { $0.isV6 == isV6 }) else {
      preconditionFailure("a completion for a companion that is gone")
    }
    host.isPolling = false
    guard !socket.pointee.isClosing else { return }
    var facts = nc_host_datagram()
    for _ in 0..<Self.batch {
      guard let payload = host.receive(errors: false, into: hostBuffer, &facts) else { break }
      deliverOutside(payload, facts, host, to: socket)
    }
    for _ in 0..<Self.batch {
      guard let payload = host.receive(errors: true, into: hostBuffer, &facts) else { break }
      reportOutside(UnsafeRawBufferPointer(payload), facts, host, to: socket)
    }
    arm(host, key)
  }

  private func deliverOutside(
    _ payload: UnsafeMutableRawBufferPointer, _ facts: nc_host_datagram, _ host: HostDatagramSocket,
    to socket: UnsafeMutablePointer<DatagramSocket>
  ) {
    guard let sender = facts.peerEndpoint else { return }
    // What had come before the socket was given a peer is not for it any more.
    if let peer = socket.pointee.peer, peer != sender { return }
    // Nobody out there speaks for an address of the network, nor for its loopback.
    guard sendsOutside(socket, sender.address) else { return }
    var header = nc_datagram()
    header.kind = UInt16(NC_DATAGRAM_DATA.rawValue)
    header.hop_limit = UInt8(clamping: max(0, facts.hop_limit))
    header.traffic_class = UInt8(clamping: max(0, facts.traffic_class))
    header.peer = nc_address(sender)
    if let local = HostAddress.local(of: host.fd) {
      header.local = nc_address(Endpoint(address: facts.localAddress ?? local.address, port: local.port))
    }
    header.time = realtimeNanoseconds()
    var vector = iovec(iov_base: payload.baseAddress, iov_len: payload.count)
    withUnsafeMutablePointer(to: &vector) {
      give(header, UnsafeMutableBufferPointer(start: $0, count: 1), payload.count, to: socket)
    }
  }

  private func reportOutside(
    _ payload: UnsafeRawBufferPointer, _ facts: nc_host_datagram, _ host: HostDatagramSocket,
    to socket: UnsafeMutablePointer<DatagramSocket>
  ) {
    // Only what the network told: this host's own errors came with the send, or with the route before it.
    guard facts.is_icmp != 0, facts.error != 0, let destination = facts.peerEndpoint else { return }
    let own = HostAddress.local(of: host.fd) ?? Endpoint(address: host.isV6 ? .anyV6 : .anyV4, port: 0)
    report(
      DatagramFailure(
        kind: socket.pointee.kind, interface: networkTable[socket.pointee.network].interface.number, source: own,
        destination: destination, error: facts.error,
        isFatal: DatagramFailure.isFatal(type: facts.icmp_type, code: facts.icmp_code, isV6: host.isV6),
        teller: facts.tellerAddress, type: facts.icmp_type, code: facts.icmp_code, info: facts.info,
        payload: payload),
      to: socket)
  }

  /// Cancels what waits for the companions; they close with the socket.
  func closeCompanions(_ key: SlabKey, _ socket: UnsafeMutablePointer<DatagramSocket>) {
    for host in socket.pointee.hosts where host.isPolling {
      ring.prepareCancel(datagramToken(key, Self.operation(of: host)), token: cancelToken)
    }
  }
}
