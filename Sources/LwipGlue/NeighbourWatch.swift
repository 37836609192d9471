internal import CLwip
internal import DequeModule
internal import Glibc
internal import Slab

/// Who waits for which neighbour to tell its hardware address.
///
/// Theory of operation: lwIP asks for an address again and again, forgets it in the end, and tells nobody. Linux gives up
/// after three requests, one a second, and fails what waits with EHOSTUNREACH (neigh_timer_handler, arp_error_report,
/// ndisc_error_report). So each unresolved next hop that something was sent to is looked at again after three seconds. All
/// wait equally long: the deadlines come in the order of the queue.
struct NeighbourWatch {
  static let patienceMilliseconds: UInt64 = 3000
  /// The most hops, and waiting senders per hop, that are watched: a scan of a subnet costs no more than this.
  private static let hopLimit = 1024
  private static let senderLimit = 16

  struct Hop: Hashable {
    let interface: UInt8
    let address: IPAddress
  }

  struct Sender {
    let kind: DatagramProtocol
    let source: Endpoint
    let destination: Endpoint
    /// The datagram's first bytes: what an error would quote of it.
    let payload: [UInt8]
  }

  struct Waiting {
    var senders: [Sender] = []
    var connections: [SlabKey] = []
  }

  private var waiting: [Hop: Waiting] = [:]
  private var deadlines: Deque<(hop: Hop, milliseconds: UInt64)> = []

  var nextDeadlineMilliseconds: UInt64? { deadlines.first?.milliseconds }

  private mutating func update(_ hop: Hop, nowMilliseconds: UInt64, _ body: (inout Waiting) -> Void) {
    if waiting[hop] == nil {
      guard waiting.count < Self.hopLimit else { return }
      deadlines.append((hop, nowMilliseconds + Self.patienceMilliseconds))
    }
    body(&waiting[hop, default: Waiting()])
  }

  mutating func add(_ sender: Sender, for hop: Hop, nowMilliseconds: UInt64) {
    update(hop, nowMilliseconds: nowMilliseconds) {
      if $0.senders.count < Self.senderLimit { $0.senders.append(sender) }
    }
  }

  mutating func add(_ connection: SlabKey, for hop: Hop, nowMilliseconds: UInt64) {
    update(hop, nowMilliseconds: nowMilliseconds) { $0.connections.append(connection) }
  }

  /// Takes a hop whose time has come.
  mutating func takeDue(nowMilliseconds: UInt64) -> (hop: Hop, waiting: Waiting)? {
    guard let first = deadlines.first, first.milliseconds <= nowMilliseconds else { return nil }
    deadlines.removeFirst()
    return (first.hop, waiting.removeValue(forKey: first.hop) ?? Waiting())
  }
}

extension Stack {
  /// Remembers who sent a datagram, where its next hop is not known yet.
  func watchNeighbour(of message: OutgoingMessage, _ interface: NetworkInterface) {
    guard let hop = interface.unknownHop(for: message.destination.address) else { return }
    // Linux quotes 576 bytes of an IPv4 packet, with all headers (RFC 1812 section 4.3.2.3), and 1,280 of an IPv6 packet.
    let quotedBytes = message.isV6 ? 1280 - 40 - 8 - 40 - 8 : 576 - 20 - 8 - 20 - 8
    let sender = NeighbourWatch.Sender(
      kind: message.kind, source: message.source, destination: message.destination,
      payload: Array(message.payload.prefix(quotedBytes)))
    datagrams.neighbours.add(
      sender, for: NeighbourWatch.Hop(interface: interface.index, address: hop), nowMilliseconds: nowMilliseconds)
  }

  /// The same for a connection that begins.
  func watchNeighbour(of connection: SlabKey, _ interface: NetworkInterface, _ destination: IPAddress) {
    guard !interface.owns(destination), let hop = interface.unknownHop(for: destination) else { return }
    datagrams.neighbours.add(
      connection, for: NeighbourWatch.Hop(interface: interface.index, address: hop), nowMilliseconds: nowMilliseconds)
  }

  /// Fails what waits for neighbours that have not answered in time.
  func tellOfSilentNeighbours() {
    while let (hop, waiting) = datagrams.neighbours.takeDue(nowMilliseconds: nowMilliseconds) {
      guard let interface = interfaces.first(where: { $0.index == hop.interface }), !interface.knows(hop.address) else {
        continue
      }
      datagramCounters.silentNeighbours += 1
      for key in waiting.connections where connections.pointer(key)?.pointee.pcb?.pointee.state == SYN_SENT {
        fail(key, EHOSTUNREACH)
      }
      // What Linux's own "host unreachable" to itself says: type 3 code 1, or ICMPv6's type 1 code 3; neither is fatal.
      let (type, code): (UInt8, UInt8) = hop.address.isV6 ? (1, 3) : (3, 1)
      for sender in waiting.senders {
        sender.payload.withUnsafeBytes { payload in
          datagramReceiver?.fail(
            DatagramFailure(
              kind: sender.kind, interface: hop.interface, source: sender.source, destination: sender.destination,
              error: EHOSTUNREACH, isFatal: false, teller: sender.source.address, type: type, code: code, info: 0,
              payload: payload))
        }
      }
    }
  }
}

extension NetworkInterface {
  /// How long a hop that was known is taken to be known, so that a stream of datagrams need not look each time.
  private static let trustMilliseconds: UInt64 = 1000

  /// The next hop towards `destination`, if its hardware address is not known yet.
  fileprivate func unknownHop(for destination: IPAddress) -> IPAddress? {
    guard let hop = nextHop(to: destination) else { return nil }
    if let known = datagrams.knownHop, known.address == hop, stack.nowMilliseconds < known.untilMilliseconds {
      return nil
    }
    guard knows(hop) else { return hop }
    datagrams.knownHop = (hop, stack.nowMilliseconds + Self.trustMilliseconds)
    return nil
  }

  /// Whether the hardware address of a neighbour is known.
  fileprivate func knows(_ neighbour: IPAddress) -> Bool {
    var ip = neighbour.lwip(zone: index)
    return neighbour.isV6 ? nc_nd6_knows(netif, &ip.u_addr.ip6) : nc_arp_knows(netif, &ip.u_addr.ip4)
  }
}
