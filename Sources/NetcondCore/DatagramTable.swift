internal import LwipGlue
internal import Slab

/// Which datagram sockets of a network have which ports, and whose an arriving datagram is; one table for UDP, one for the
/// identifiers of ICMP sockets.
///
/// The rules are Linux's: of conflicts udp_lib_lport_inuse, inet_rcv_saddr_equal and ping_get_port; of delivery
/// udp4_lib_lookup2 (compute_score), udp6_lib_lookup2 and __udp4_lib_mcast_deliver.
struct DatagramTable {
  struct Binding {
    let socket: SlabKey
    /// What it is bound to: "any", an address of the network, a group or a broadcast address.
    var address: IPAddress
    /// Of the family AF_INET6.
    let isV6Socket: Bool
    let isV6Only: Bool
    var reusesAddress: Bool
    var reusesPort: Bool
    /// The peer of a connected socket; others' datagrams are not for it.
    var peer: Endpoint?

    /// "Any" of IPv6 that takes IPv4 as well.
    var isDual: Bool { isV6Socket && address == .anyV6 && !isV6Only }

    /// Whether both could be asked about the same datagram.
    func overlaps(_ other: Binding) -> Bool {
      if address.isV6 != other.address.isV6 { return isDual && !other.address.isV6 || other.isDual && !address.isV6 }
      return address.isAny || other.address.isAny || address == other.address
    }

    /// Whether a datagram from `source` to `destination` may be this socket's.
    func matches(source: Endpoint, destination: IPAddress) -> Bool {
      guard address == destination || address.isAny && (address.isV6 == destination.isV6 || isDual) else {
        return false
      }
      guard let peer else { return true }
      // A peer's port 0 is nobody's in particular (compute_score); "any" cannot be a peer.
      return peer.address == source.address && (peer.port == source.port || peer.port == 0)
    }

    /// How closely: the more of the four-tuple is given, the better; of equals the socket of the datagram's own family.
    func score(destination: IPAddress) -> Int {
      (address == destination ? 16 : 0) + (peer != nil ? 8 : 0) + (isV6Socket == destination.isV6 ? 1 : 0)
    }
  }

  enum Space { case udp, identifiers }

  private let space: Space
  /// In the order of binding.
  private var bindings: [UInt16: [Binding]] = [:]

  init(_ space: Space) { self.space = space }

  func isUsed(_ port: UInt16) -> Bool { bindings[port] != nil }

  private func conflict(_ one: Binding, _ other: Binding) -> Bool {
    guard one.socket != other.socket, !(one.reusesAddress && other.reusesAddress) else { return false }
    if space == .identifiers { return true }
    return one.overlaps(other) && !(one.reusesPort && other.reusesPort)
  }

  /// Binds; false on a conflict.
  mutating func bind(_ binding: Binding, port: UInt16) -> Bool {
    guard bindings[port]?.contains(where: { conflict(binding, $0) }) != true else { return false }
    bindings[port, default: []].append(binding)
    return true
  }

  /// A free ephemeral port, bound; nil where all of them are used.
  mutating func bindEphemeral(_ binding: Binding) -> UInt16? {
    // Linux's net.ipv4.ip_local_port_range; an identifier may be any (ping_get_port).
    let range: ClosedRange<UInt16> = space == .udp ? 32_768...60_999 : 1...65_535
    let count = Int(range.upperBound - range.lowerBound) + 1
    let start = Int.random(in: 0..<count)
    for offset in 0..<count {
      let port = range.lowerBound + UInt16((start + offset) % count)
      guard !isUsed(port) else { continue }
      bindings[port] = [binding]
      return port
    }
    return nil
  }

  /// Changes a binding in place.
  mutating func update(_ socket: SlabKey, port: UInt16, _ change: (inout Binding) -> Void) {
    guard let index = bindings[port]?.firstIndex(where: { $0.socket == socket }) else { return }
    change(&bindings[port]![index])
  }

  mutating func release(_ socket: SlabKey, port: UInt16) {
    guard var mine = bindings[port] else { return }
    mine.removeAll { $0.socket == socket }
    bindings[port] = mine.isEmpty ? nil : mine
  }

  /// The one socket that a datagram to an address of the network is for. Of equals the one bound last gets it; of a
  /// group with SO_REUSEPORT, one chosen by source and destination.
  func find(source: Endpoint, destination: Endpoint) -> SlabKey? {
    guard let candidates = bindings[destination.port] else { return nil }
    var best: Binding?
    var bestScore = -1
    for candidate in candidates where candidate.matches(source: source, destination: destination.address) {
      if space == .identifiers, candidate.isV6Socket != destination.address.isV6 { continue }
      // ping_lookup knows no better or worse.
      let score = space == .identifiers ? 0 : candidate.score(destination: destination.address)
      if score >= bestScore { (best, bestScore) = (candidate, score) }
    }
    guard let best, space == .udp, best.reusesPort, best.peer == nil, candidates.count > 1 else { return best?.socket }
    let group = candidates.filter {
      $0.reusesPort && $0.peer == nil && $0.matches(source: source, destination: destination.address)
        && $0.score(destination: destination.address) == bestScore
    }
    var hasher = Hasher()
    hasher.combine(source)
    hasher.combine(destination)
    return group[Int(UInt(bitPattern: hasher.finalize()) % UInt(group.count))].socket
  }

  /// All sockets that a datagram to a group or broadcast address may be for.
  func findAll(source: Endpoint, destination: Endpoint) -> [SlabKey] {
    guard let candidates = bindings[destination.port] else { return [] }
    return candidates.filter { $0.matches(source: source, destination: destination.address) }.map(\.socket)
  }
}
