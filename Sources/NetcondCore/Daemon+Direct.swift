internal import CSocket
internal import Glibc
internal import LwipGlue
internal import NetcondRPC
internal import Slab

/// Direct connections: a program that connects to a listener of its own network is joined to it without the daemon.
///
/// Theory of operation. The connecting program holds one end of a pair already, unwritable for the filler in it. The daemon
/// names its own end DIRECT, gives *that* end to the listener with an accept record, as it would an accepted connection's,
/// takes the filler out and closes its copy. From there on the two programs talk through the kernel alone. The last byte
/// of the filler stays: it is the one that accept() takes out (docs/rpc.md, "Accept records"), so that a connection which
/// nobody accepts ends for the connecting side as a reset.
///
/// What the daemon still does for such ends is to answer for their options (`RetainedSockets`), and to keep the port of the
/// connecting side from others (`DirectPorts`).
extension Daemon {
  /// Joins `socket` to a listener of its own network.
  /// - Parameters:
  ///   - target: where it connects to.
  ///   - appEnd: the app's end, or -1; owned by this call only where it returns true.
  /// - Returns: false where there is no such listener, or none with room: the stack then says what Linux says.
  func connectDirectly(
    _ key: SlabKey, _ socket: UnsafeMutablePointer<Socket>, to target: Endpoint, appEnd: Int32
  ) -> Bool {
    let network = networkTable[socket.pointee.network]
    // SO_LINGER with 0 resets at close, which a pair cannot.
    guard appEnd >= 0, network.interface.owns(target.address), !socket.pointee.options.resetsOnClose,
      let listenerKey = chooseListener(of: network, for: target, hash: socket.pointee.id.hashValue),
      let listener = sockets.pointer(listenerKey), admitsConnection(listener: listenerKey),
      let local = bindDirectly(key, socket, to: target), let handed = duplicate(socket.pointee.fd)
    else { return false }
    count(\.direct)
    socket.pointee.local = local
    socket.pointee.remote = target
    Pair.setSendBuffer(handed, Pair.connectedSendBufferBytes)
    var name = name(of: socket, NC_STATE_DIRECT)
    name.error = UInt16(listener.pointee.family)
    Pair.bindName(handed, name)
    Pair.drain(daemon: handed, bytes: socket.pointee.fillerBytes - 1)
    Pair.setSendBuffer(appEnd, Pair.connectedSendBufferBytes)  // the app's one EPOLLOUT
    let accepted = RetainedSockets.AppEnd(inode: nc_socket_inode(handed), process: listener.pointee.appProcess)
    let connecting = RetainedSockets.AppEnd(inode: socket.pointee.appInode, process: socket.pointee.appProcess)
    retained.keep(
      RetainedSockets.Entry(options: socket.pointee.options, other: accepted), for: socket.pointee.cookie)
    if let cookie = Pair.cookie(handed) {
      retained.keep(RetainedSockets.Entry(options: listener.pointee.options.inherited, other: connecting), for: cookie)
    }
    var record = nc_accept_record()
    record.magic = NC_RPC_MAGIC
    record.version = UInt16(NC_RPC_VERSION)
    record.unaccepted = 1
    record.socket_id = socket.pointee.id
    record.local = name.remote
    record.remote = name.local
    listener.pointee.acceptQueue.append(PendingAccept(appEnd: handed, record: record))
    sendAcceptRecords(listenerKey, listener)
    close(appEnd)
    letGo(key, socket, name)
    return true
  }

  /// The daemon's end is with another app: closes our copy, and leaves the port where it is while that app lives.
  private func letGo(_ key: SlabKey, _ socket: UnsafeMutablePointer<Socket>, _ name: nc_name) {
    if let port = socket.pointee.boundPort {
      let entry = DirectPorts.Entry(network: socket.pointee.network, port: port, socket: key, name: name)
      socket.pointee.boundPort = nil
      release(directPorts.add(entry))
    }
    closeSocket(key, socket)
  }

  private func release(_ ended: [DirectPorts.Entry]) {
    for entry in ended { networkTable[entry.network].ports.release(entry.socket, port: entry.port) }
  }

  /// Releases what direct connections that have ended meanwhile still hold of a port.
  func releaseEndedDirect(network: Int, port: UInt16) {
    release(directPorts.collect(network: network, port: port))
  }

  /// The listener for a connection to `target`; of several that share a port, the one that `hash` picks.
  func chooseListener(of network: Network, for target: Endpoint, hash: Int) -> SlabKey? {
    let listeners = network.ports.listeners(port: target.port, for: target.address)
    guard !listeners.isEmpty else { return nil }
    return listeners[Int(UInt(bitPattern: hash) % UInt(listeners.count))]
  }

  /// The endpoint that `socket` speaks from, with its port bound; nil where none is free.
  private func bindDirectly(
    _ key: SlabKey, _ socket: UnsafeMutablePointer<Socket>, to target: Endpoint
  ) -> Endpoint? {
    let network = networkTable[socket.pointee.network]
    var local = socket.pointee.local ?? Endpoint(address: .anyV4, port: 0)
    if local.address.isAny || local.address.isV6 != target.address.isV6 {
      guard let source = network.interface.sourceAddress(for: target.address) else { return nil }
      local.address = source
    }
    guard local.port == 0 else { return local }
    let binding = PortTable.Binding(
      socket: key, address: local.address, isDual: false, reuseAddress: socket.pointee.options.reuseAddress)
    guard let port = network.ports.bindEphemeral(binding) else { return nil }
    socket.pointee.boundPort = port
    local.port = port
    return local
  }

  private func duplicate(_ fd: Int32) -> Int32? {
    let copy = fcntl(fd, F_DUPFD_CLOEXEC, 0)
    guard copy >= 0, !isReserved(copy) else {
      if copy >= 0 { close(copy) }
      return nil
    }
    return copy
  }
}
