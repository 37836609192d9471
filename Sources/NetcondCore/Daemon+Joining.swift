internal import Glibc
internal import LwipGlue
internal import Slab
internal import UringLoop

/// Networks that come and go while the daemon serves.
extension Daemon {
  /// Tokens name a link by 16 bits, and a network that was left keeps its number.
  private static let networkLimit = 65_536

  /// nil where the network is not joined.
  func served(_ id: NetworkID) -> Network? { networks.first { $0.id == id } }

  /// Serves one more network, by its file.
  /// - Throws: `ConfigurationErrors` or `HomeError`; nothing has changed then.
  func join(_ id: NetworkID, home: Home) throws -> Network {
    if let network = served(id) { return network }
    guard !isEnding else { throw HomeError(description: "the daemon is ending") }
    guard networkTable.count < Self.networkLimit else {
      throw HomeError(description: "\(Self.networkLimit) networks were joined since the start; restart the daemon")
    }
    let network = try make(
      home.loadNetwork(id, beside: networks.map(\.configuration)), home: home)
    do {
      try begin(network)
    } catch {
      remove(network)
      throw error
    }
    log.notice("network \(id): joined")
    return network
  }

  /// Serves a network no more. What its programs have open ends: with ENETDOWN where the daemon can tell them, else as if
  /// the peer had closed; its peers' connections are reset. Two programs that are connected without the daemon stay so.
  /// - Throws: `HomeError` where its file cannot be put away; it is served no more all the same, until the next start.
  func leave(_ network: Network, home: Home) throws {
    ring.prepareCancel(acceptToken(network), token: cancelToken)
    network.closeSocket()
    for key in clients.keys where clients.pointer(key)?.pointee.network == network.number { removeClient(key) }
    for key in sockets.keys {
      guard let socket = sockets.pointer(key), socket.pointee.network == network.number else { continue }
      cutOff(key, socket)
    }
    for key in datagrams.keys {
      guard let socket = datagrams.pointer(key), socket.pointee.network == network.number else { continue }
      closeDatagramSocket(key, socket)
    }
    ring.submit()  // sends under way, which are cancelled now, read the memory of connections
    network.interface.endDHCP()
    remove(network)
    log.notice("network \(network.id): left")
    try home.putAside(network.id)
  }

  private func cutOff(_ key: SlabKey, _ socket: UnsafeMutablePointer<Socket>) {
    switch socket.pointee.state {
    case .connected:
      socket.pointee.appError = ENETDOWN
      resetConnection(key, socket)
    case .listening: closeListener(key, socket)
    case .new, .connecting: closeSocket(key, socket)
    case .closing: break
    }
  }

  /// Takes a network out of the loop. Completions of its link may still come, and find it in `networkTable`.
  private func remove(_ network: Network) {
    network.closeSocket()
    stack.remove(network.interface)
    network.reportImpairments()
    network.link.stop()
    networks.removeAll { $0 === network }
  }
}
