internal import CSocket
internal import DequeModule
internal import Glibc
internal import LwipGlue
internal import NetcondRPC
internal import Slab
internal import UringLoop

/// The way of datagrams: app → pair → stack, and stack → pair → app. Nothing waits: what the app's end has no room for is
/// lost and counted, as where a receive buffer is full; an app that sends faster than the daemon reads waits itself.
extension Daemon {
  func datagramToken(_ key: SlabKey, _ operation: UInt8) -> Token {
    Token(kind: Kind.datagram, operation: operation, owner: key.bits)
  }

  func completeDatagram(_ key: SlabKey, operation: UInt8, _ completion: Completion) {
    guard let socket = datagrams.pointer(key) else { preconditionFailure("a completion for a socket that is gone") }
    switch operation {
    case Operation.receive:
      if !completion.more { socket.pointee.isReceiving = false }
      completeDatagramReceive(key, socket, completion)
    case Operation.hangUp:
      if !completion.more { socket.pointee.isWatching = false }
      if !socket.pointee.isClosing {
        if completion.result > 0, completion.result & Int32(POLLHUP) != 0, Pair.isHungUp(socket.pointee.fd) {
          closeDatagramSocket(key, socket)
        } else if !completion.more {
          watch(key, socket)
        }
      }
    case Operation.hostV4, Operation.hostV6:
      completeHostDatagram(key, socket, isV6: operation == Operation.hostV6, completion)
    default: preconditionFailure("a datagram socket has no operation \(operation)")
    }
    if let socket = datagrams.pointer(key), socket.pointee.isClosing { finishClosing(key, socket) }
  }

  // MARK: From the app

  func armDatagramReceive(_ key: SlabKey, _ socket: UnsafeMutablePointer<DatagramSocket>) {
    guard !socket.pointee.isReceiving, !socket.pointee.isClosing else { return }
    socket.pointee.isReceiving = true
    ring.prepareReceiveMultishot(socket.pointee.fd, from: sendPool, token: datagramToken(key, Operation.receive))
  }

  private func completeDatagramReceive(
    _ key: SlabKey, _ socket: UnsafeMutablePointer<DatagramSocket>, _ completion: Completion
  ) {
    if let buffer = completion.bufferIndex {
      sendPool.take(buffer)
      if completion.result > 0, !socket.pointee.isClosing {
        let message = UnsafeRawBufferPointer(start: sendPool.address(buffer), count: Int(completion.result))
        send(message, key, socket)
      }
      sendPool.release(buffer)
    }
    guard !completion.more, !socket.pointee.isClosing else { return }
    switch -completion.result {
    case ENOBUFS: starvedDatagrams.append(key)
    // The app closed with datagrams unread; what it has sent is still to be read.
    case ..<0, EINTR, EAGAIN, ECONNRESET: armDatagramReceive(key, socket)
    default:
      if Pair.isHungUp(socket.pointee.fd) { return closeDatagramSocket(key, socket) }
      watch(key, socket)  // shut down for sending
    }
  }

  /// Waits for the app's close, where no receive would tell.
  private func watch(_ key: SlabKey, _ socket: UnsafeMutablePointer<DatagramSocket>) {
    guard !socket.pointee.isWatching else { return }
    socket.pointee.isWatching = true
    ring.preparePollMultishot(socket.pointee.fd, events: 0, token: datagramToken(key, Operation.hangUp))
  }

  /// Retries receives that found no buffer.
  func resumeStarvedDatagrams() {
    guard !starvedDatagrams.isEmpty, !sendPool.isExhausted else { return }
    for _ in 0..<starvedDatagrams.count {
      guard let key = starvedDatagrams.popFirst() else { return }
      if let socket = datagrams.pointer(key) { armDatagramReceive(key, socket) }
    }
  }

  /// Sends what an app wrote: a header and the payload.
  private func send(_ message: UnsafeRawBufferPointer, _ key: SlabKey, _ socket: UnsafeMutablePointer<DatagramSocket>) {
    let headerBytes = MemoryLayout<nc_datagram>.size
    guard message.count >= headerBytes else { return count(\.malformedDatagrams) }
    let header = message.loadUnaligned(as: nc_datagram.self)
    guard header.kind == UInt16(NC_DATAGRAM_DATA.rawValue) else { return count(\.malformedDatagrams) }
    let payload = UnsafeRawBufferPointer(rebasing: message[headerBytes...])
    let hasMore = header.flags & UInt32(NC_DATAGRAM_MORE) != 0
    if hasMore || socket.pointee.joined != nil {
      socket.pointee.joined = socket.pointee.joined ?? (header, [])
      guard socket.pointee.joined!.payload.count + payload.count <= Int(UInt16.max) else {
        socket.pointee.joined = nil
        return count(\.unsentDatagrams)
      }
      socket.pointee.joined!.payload += payload
      guard !hasMore, let joined = socket.pointee.joined.take() else { return }
      return joined.payload.withUnsafeBytes { cut($0, joined.header, key, socket) }
    }
    guard header.flags & UInt32(NC_DATAGRAM_FLUSH) == 0 else { return }
    cut(payload, header, key, socket)
  }

  /// Sends a payload, in several datagrams where UDP_SEGMENT says so.
  private func cut(
    _ payload: UnsafeRawBufferPointer, _ header: nc_datagram, _ key: SlabKey,
    _ socket: UnsafeMutablePointer<DatagramSocket>
  ) {
    let size = header.info != 0 ? Int(header.info) : socket.pointee.settings.segmentBytes
    guard size > 0, payload.count > size, socket.pointee.kind == .udp else {
      return send(payload, header, key, socket)
    }
    guard payload.count <= size * 128 else { return count(\.unsentDatagrams) }  // UDP_MAX_SEGMENTS of linux/udp.h
    var rest = payload
    while !rest.isEmpty {
      send(UnsafeRawBufferPointer(rebasing: rest.prefix(size)), header, key, socket)
      rest = UnsafeRawBufferPointer(rebasing: rest.dropFirst(size))
    }
  }

  private func send(
    _ payload: UnsafeRawBufferPointer, _ header: nc_datagram, _ key: SlabKey,
    _ socket: UnsafeMutablePointer<DatagramSocket>
  ) {
    if let peer = header.peer.endpoint ?? socket.pointee.peer, sendsOutside(socket, peer.address) {
      return sendOutside(payload, header, key, socket, to: peer)
    }
    guard autobind(key, socket) == 0 else { return count(\.unsentDatagrams) }
    do {
      let way = try route(socket, to: header.peer.endpoint, from: header.local.endpoint?.address)
      let interface = networkTable[socket.pointee.network].interface!
      try stack.send(
        socket.pointee.kind, from: interface, source: way.source, destination: way.destination, payload: payload,
        options: sendOptions(socket, header, way))
    } catch {
      count(\.unsentDatagrams)
    }
  }

  func sendOptions(
    _ socket: UnsafeMutablePointer<DatagramSocket>, _ header: nc_datagram, _ way: Route
  ) -> DatagramOptions {
    let settings = socket.pointee.settings
    let isGroup = way.destination.address.isMulticast
    var options = DatagramOptions()
    if way.isV6 {
      options.hopLimit = isGroup ? settings.multicastHopsV6 : settings.hopsV6
      options.trafficClass = settings.trafficClassV6
      options.loopsMulticast = settings.loopsV6
    } else {
      options.hopLimit = isGroup ? settings.multicastHops : settings.hops
      options.trafficClass = settings.trafficClass
      options.loopsMulticast = settings.loops
    }
    options.dontFragment = settings.neverFragments(isV6: way.isV6)
    if header.flags & UInt32(NC_DATAGRAM_HAS_HOP_LIMIT) != 0 { options.hopLimit = header.hop_limit }
    if header.flags & UInt32(NC_DATAGRAM_HAS_TRAFFIC_CLASS) != 0 { options.trafficClass = header.traffic_class }
    return options
  }

  // MARK: To the app

  private func network(of interface: UInt8) -> Network? { networks.first { $0.interface.number == interface } }

  /// Takes a datagram from the stack (inside lwIP: the kernel is all that is entered). False where it is for nobody.
  func deliver(_ datagram: ReceivedDatagram) -> Bool {
    guard let network = network(of: datagram.interface) else { return false }
    let destination = datagram.destination.address
    let table = datagram.kind == .udp ? network.udp : network.identifiers
    if destination.isMulticast || network.interface.isBroadcast(destination) {
      let index = UInt32(datagram.source.address.isLoopback ? NC_INTERFACE_INDEX_LO : NC_INTERFACE_INDEX_NETWORK)
      for key in table.findAll(source: datagram.source, destination: datagram.destination) {
        guard let socket = datagrams.pointer(key) else { continue }
        if destination.isMulticast,
          !hears(socket, group: destination, source: datagram.source.address, interface: index)
        {
          continue
        }
        deliver(datagram, to: socket, network)
      }
      return true
    }
    guard let key = table.find(source: datagram.source, destination: datagram.destination),
      let socket = datagrams.pointer(key)
    else { return false }
    deliver(datagram, to: socket, network)
    return true
  }

  private func deliver(
    _ datagram: ReceivedDatagram, to socket: UnsafeMutablePointer<DatagramSocket>, _ network: Network
  ) {
    var header = nc_datagram()
    header.kind = UInt16(NC_DATAGRAM_DATA.rawValue)
    header.hop_limit = datagram.hopLimit
    header.traffic_class = datagram.trafficClass
    header.peer = nc_address(datagram.source)
    header.local = nc_address(datagram.destination)
    let address = datagram.destination.address
    if !address.isV6, address.isMulticast || network.interface.isBroadcast(address) {
      // What an answer would come from (ipi_spec_dst of struct in_pktinfo).
      let own = network.interface.addresses.first { !$0.address.isV6 && !$0.address.isLoopback }?.address ?? .anyV4
      header.info = own.withBytes { $0.loadUnaligned(as: UInt32.self) }
    }
    header.time = realtimeNanoseconds()
    give(header, datagram.payload, datagram.payloadBytes, to: socket)
  }

  func give(
    _ header: nc_datagram, _ payload: UnsafeMutableBufferPointer<iovec>, _ bytes: Int,
    to socket: UnsafeMutablePointer<DatagramSocket>
  ) {
    guard !socket.pointee.isClosing else { return }
    var header = header
    let size = MemoryLayout<nc_datagram>.size
    let (fd, base, pieces) = (socket.pointee.fd, payload.baseAddress, payload.count)
    var status = nc_send_datagram(fd, &header, size, base, pieces)
    if status == -EMSGSIZE, nc_unread_memory(fd) == 0 {
      // Linux always takes a first datagram, however small the receive buffer is.
      Pair.setSendBuffer(fd, Int32(size + bytes + 4096))
      status = nc_send_datagram(fd, &header, size, base, pieces)
      applyReceiveBuffer(socket)
    }
    switch -status {
    case 0: count(\.deliveredDatagrams)
    case EPIPE, ECONNRESET: break  // shut down for reading, or closed
    default:
      socket.pointee.drops += 1
      count(\.droppedDatagrams)
    }
  }

  // MARK: Errors

  /// Tells the socket that a failed datagram came from, where Linux would (udp_err, udpv6_err, ping_err). Inside lwIP.
  func report(_ failure: DatagramFailure) {
    guard let network = network(of: failure.interface) else { return }
    let table = failure.kind == .udp ? network.udp : network.identifiers
    let peer = failure.kind == .udp ? failure.destination : Endpoint(address: failure.destination.address, port: 0)
    guard let key = table.find(source: peer, destination: failure.source), let socket = datagrams.pointer(key) else {
      return
    }
    report(failure, to: socket)
  }

  func report(_ failure: DatagramFailure, to socket: UnsafeMutablePointer<DatagramSocket>) {
    let isV6 = failure.destination.address.isV6
    let settings = socket.pointee.settings
    let isTooBig = failure.error == EMSGSIZE
    if isTooBig, !isV6, settings.discovery == 0 { return }  // IP_PMTUDISC_DONT
    let isFatal = failure.isFatal || isTooBig && (!isV6 || settings.discoveryV6 != 0)
    let hasQueue = isV6 ? settings.reportsErrorsV6 : settings.reportsErrors
    guard hasQueue || isFatal && socket.pointee.peer != nil else { return }
    var header = nc_datagram()
    header.kind = UInt16(NC_DATAGRAM_ERROR.rawValue)
    header.error = UInt16(failure.error)
    header.hop_limit = 64  // the stack does not tell the message's
    header.icmp_type = failure.type
    header.icmp_code = failure.code
    header.info = failure.info
    header.peer = nc_address(failure.destination)
    if failure.kind != .udp { header.peer.port = 0 }
    if let teller = failure.teller { header.local = nc_address(Endpoint(address: teller, port: 0)) }
    header.time = realtimeNanoseconds()
    // The queue's message carries the datagram; an error without a queue is an errno only.
    var vector = iovec(
      iov_base: UnsafeMutableRawPointer(mutating: failure.payload.baseAddress),
      iov_len: hasQueue ? failure.payload.count : 0)
    withUnsafeMutablePointer(to: &vector) {
      give(header, UnsafeMutableBufferPointer(start: $0, count: 1), $0.pointee.iov_len, to: socket)
    }
  }

  /// A send that the way's MTU forbids leaves a message in the queue (ip_local_error).
  func reportTooBig(_ socket: UnsafeMutablePointer<DatagramSocket>, _ way: Route, mtu: Int) {
    let settings = socket.pointee.settings
    guard way.isV6 ? settings.reportsErrorsV6 : settings.reportsErrors else { return }
    var header = nc_datagram()
    header.kind = UInt16(NC_DATAGRAM_ERROR.rawValue)
    header.error = UInt16(EMSGSIZE)
    header.info = UInt32(mtu)
    header.peer = nc_address(way.destination)
    if !way.isV6 { header.peer.port = (socket.pointee.peer?.port ?? 0).bigEndian }  // ip_local_error is told that one
    var none = iovec()
    withUnsafeMutablePointer(to: &none) { give(header, UnsafeMutableBufferPointer(start: $0, count: 1), 0, to: socket) }
  }

  func realtimeNanoseconds() -> UInt64 {
    var time = timespec()
    clock_gettime(CLOCK_REALTIME, &time)
    return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
  }
}

/// The daemon as the stack's receiver of datagrams.
final class DatagramGate: DatagramReceiver {
  private unowned let daemon: Daemon
  init(_ daemon: Daemon) { self.daemon = daemon }
  func receive(_ datagram: ReceivedDatagram) -> Bool { daemon.deliver(datagram) }
  func fail(_ failure: DatagramFailure) { daemon.report(failure) }
}
