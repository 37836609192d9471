internal import CSocket
internal import Glibc
internal import LwipGlue
internal import Slab

/// What the control interface tells of sockets. Those made ahead, and those that are only ending, are not among them.
extension Daemon {
  /// Sockets of one page: to write them all at once would keep the loop from its work.
  private static let page = 256
  /// By the numbers of tcp_info (enum in net/tcp_states.h), and behind them the datagram sockets'.
  private static let stateNames = [
    "CLOSE", "ESTABLISHED", "SYN-SENT", "SYN-RECV", "FIN-WAIT-1", "FIN-WAIT-2", "TIME-WAIT", "CLOSE", "CLOSE-WAIT",
    "LAST-ACK", "LISTEN", "CLOSING", "UDP", "ICMP",
  ]
  private static let closed = 7, listening = 10, udp = 12, icmp = 13

  /// How many sockets are in which state, by the networks' numbers. Linear in the sockets: 0.15 µs each, most of it cache misses.
  func countSockets() -> [Int: [String: Int]] {
    var counts = [Int](repeating: 0, count: networkTable.count * Self.stateNames.count)
    for key in sockets.keys {
      guard let socket = sockets.pointer(key), isShown(socket) else { continue }
      counts[socket.pointee.network * Self.stateNames.count + state(socket)] += 1
    }
    for key in datagrams.keys {
      guard let socket = datagrams.pointer(key), !socket.pointee.isClosing else { continue }
      counts[socket.pointee.network * Self.stateNames.count + (socket.pointee.kind == .udp ? Self.udp : Self.icmp)] += 1
    }
    var named: [Int: [String: Int]] = [:]
    for (place, count) in counts.enumerated() where count > 0 {
      let (network, state) = place.quotientAndRemainder(dividingBy: Self.stateNames.count)
      named[network, default: [:]][Self.stateNames[state], default: 0] += count
    }
    return named
  }

  /// - Parameters:
  ///   - number: of the network; nil for all.
  ///   - after: how many to pass over.
  func socketsDocument(of number: Int?, after: Int) -> SocketsDocument {
    var total = 0
    var page: [SocketDocument] = []
    func add(_ network: Int, _ make: () -> SocketDocument) {
      guard number == nil || number == network else { return }
      if total >= after, page.count < Self.page { page.append(make()) }
      total += 1
    }
    for key in sockets.keys {
      guard let socket = sockets.pointer(key), isShown(socket) else { continue }
      add(socket.pointee.network) { socketDocument(socket) }
    }
    for key in datagrams.keys {
      guard let socket = datagrams.pointer(key), !socket.pointee.isClosing else { continue }
      add(socket.pointee.network) { socketDocument(socket) }
    }
    let end = after + page.count
    return SocketsDocument(total: total, next: end < total ? end : nil, sockets: page)
  }

  private func isShown(_ socket: UnsafeMutablePointer<Socket>) -> Bool {
    !socket.pointee.isPrepared && socket.pointee.state != .closing
  }

  /// The index of `stateNames`.
  private func state(_ socket: UnsafeMutablePointer<Socket>) -> Int {
    if socket.pointee.state == .listening { return Self.listening }
    if let host = socket.pointee.host {
      return host.isConnecting ? 2 : socket.pointee.state == .connected ? 1 : Self.closed
    }
    return socket.pointee.connection.flatMap { stack.state(of: $0) }.map(Int.init) ?? Self.closed
  }

  private func socketDocument(_ socket: UnsafeMutablePointer<Socket>) -> SocketDocument {
    let facts = socket.pointee.connection.flatMap { stack.facts(of: $0) }
    let isListening = socket.pointee.state == .listening
    let queued = socket.pointee.host.map { Int($0.queuedBytes.all) }
    let unacknowledged = facts.map { Int($0.unacknowledgedBytes) + Int($0.unsentBytes) }
    let any = Endpoint(
      address: socket.pointee.family == AF_INET6 ? .anyV6 : .anyV4, port: socket.pointee.boundPort ?? 0)
    let ends = socket.pointee.connection.flatMap { stack.endpoints(of: $0) }
    return SocketDocument(
      id: socket.pointee.id, network: "\(networkTable[socket.pointee.network].id)", protocol: "tcp",
      state: Self.stateNames[state(socket)], local: "\(ends?.local ?? socket.pointee.local ?? any)",
      peer: (ends?.remote ?? socket.pointee.remote).map { "\($0)" },
      pid: socket.pointee.appProcess == 0 ? nil : socket.pointee.appProcess,
      receiveQueue: isListening
        ? socket.pointee.acceptQueue.count : socket.pointee.connection.map { stack.receivedBytes($0) } ?? 0,
      sendQueue: isListening ? socket.pointee.backlog : queued ?? unacknowledged ?? 0,
      isOutside: socket.pointee.host != nil,
      roundTripMicroseconds: facts.flatMap { $0.roundTripMicroseconds == 0 ? nil : Int($0.roundTripMicroseconds) },
      congestionWindow: facts.map { Int($0.windowSegments) * Int($0.segmentBytes) }, drops: nil)
  }

  private func socketDocument(_ socket: UnsafeMutablePointer<DatagramSocket>) -> SocketDocument {
    SocketDocument(
      id: socket.pointee.id, network: "\(networkTable[socket.pointee.network].id)",
      protocol: socket.pointee.kind == .udp ? "udp" : "icmp",
      state: socket.pointee.peer == nil ? "UNCONN" : "ESTABLISHED",  // as ss(8) has them
      local: "\(socket.pointee.local ?? Endpoint(address: socket.pointee.anyAddress, port: 0))",
      peer: socket.pointee.peer.map { "\($0)" }, pid: socket.pointee.process,
      receiveQueue: 0, sendQueue: Int(nc_unread_memory(socket.pointee.fd)),
      isOutside: !socket.pointee.hosts.isEmpty, roundTripMicroseconds: nil, congestionWindow: nil,
      drops: socket.pointee.drops)
  }
}
