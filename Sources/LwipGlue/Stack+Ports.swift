internal import CLwip

/// Which local ports connections use, and which one the next is to have.
extension Stack {
  /// A port that no connection between the same addresses uses (RFC 6056 section 3.3.3: a keyed hash of the addresses plus a
  /// counter), so that a port comes round to the same peer as late as possible: the peer may keep the old connection in
  /// TIME_WAIT. Ports in TIME_WAIT here are passed over while others are easily found: not where so many are that the next
  /// would most likely be as well, for each look-up is a miss of the caches.
  func freePort(_ interface: NetworkInterface, _ local: IPAddress, _ remote: Endpoint) -> UInt16? {
    let (first, count): (UInt32, UInt32) = (32_768, 28_232)  // Linux's net.ipv4.ip_local_port_range
    let start = portOffset(local, remote) &+ portCounter
    let passedOver = timeWait.count < Int(count / 2) ? 2 : 0
    for offset in 0..<count {
      let port = UInt16(first + (start &+ offset) % count)
      if reservedPorts(interface.index, port) { continue }
      let endpoint = Endpoint(address: local, port: port)
      let tuple = FourTuple(interfaceIndex: interface.index, local: endpoint, remote: remote)
      if let old = timeWait.find(tuple) {
        guard offset >= passedOver, timeWait.reuse(old, nowMilliseconds: nowMilliseconds) else { continue }
      }
      if blocks.find(tuple) == nil {
        portCounter &+= offset + 1
        return port
      }
    }
    return nil
  }

  func isConnected(_ interface: UInt8, _ local: Endpoint, _ remote: Endpoint) -> Bool {
    let tuple = FourTuple(interfaceIndex: interface, local: local, remote: remote)
    return timeWait.find(tuple) != nil || blocks.find(tuple) != nil
  }

  /// lwIP's block of the connection between two endpoints of an interface; nil where there is none.
  func activeBlock(_ interface: UInt8, _ local: Endpoint, _ remote: Endpoint) -> ControlBlock? {
    blocks.find(FourTuple(interfaceIndex: interface, local: local, remote: remote))
  }

  /// Whether connections, those in TIME_WAIT included, speak from `local` (or from any address where that is "any").
  /// Linear in the number of connections: for bind() without SO_REUSEADDR alone.
  public func hasConnections(_ interface: NetworkInterface, on local: Endpoint) -> Bool {
    if timeWait.usesPort(interfaceIndex: interface.index, local.port) { return true }
    return blocks.contains {
      $0.pointee.local_port == local.port && $0.pointee.netif_idx == interface.index
        && (local.address.isAny || IPAddress(&$0.pointee.local_ip) == local.address)
    }
  }
}
