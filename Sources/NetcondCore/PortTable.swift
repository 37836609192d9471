internal import LwipGlue
internal import Slab

/// Which ports of a network are bound to which sockets, with Linux's rules of conflict (socket(7), SO_REUSEADDR).
struct PortTable {
  struct Binding {
    let socket: SlabKey
    let address: IPAddress
    /// Takes IPv4 as well: an IPv6 "any" without IPV6_V6ONLY.
    let isDual: Bool
    let reuseAddress: Bool
    var reusePort = false
    var isListening = false

    /// Whether both would be asked about the same packet.
    func overlaps(_ other: Binding) -> Bool {
      if address.isV6 != other.address.isV6 { return isDual && !other.address.isV6 || other.isDual && !address.isV6 }
      return address.isAny || other.address.isAny || address == other.address
    }
  }

  private var bindings: [UInt16: [Binding]] = [:]

  func isUsed(_ port: UInt16) -> Bool { bindings[port] != nil }

  /// Whether `binding` may be had: two sockets share an address and port only where both reuse the address and neither
  /// listens, or both reuse the port.
  func allows(_ binding: Binding, port: UInt16) -> Bool {
    guard let others = bindings[port] else { return true }
    return !others.contains {
      $0.socket != binding.socket && $0.overlaps(binding)
        && !($0.reuseAddress && binding.reuseAddress && !$0.isListening)
        && !($0.reusePort && binding.reusePort)
    }
  }

  /// Binds; false on a conflict.
  mutating func bind(_ binding: Binding, port: UInt16) -> Bool {
    guard allows(binding, port: port) else { return false }
    bindings[port, default: []].append(binding)
    return true
  }

  /// How many free ports are passed over because connections linger there.
  private static let mostLingering = 16

  /// A free ephemeral port (RFC 6056 section 3.3.1), bound; nil where all of them are used.
  /// - Parameter lingers: whether connections of sockets that are gone still use a port: such a one is taken only where no other
  ///   is easily found.
  mutating func bindEphemeral(_ binding: Binding, lingers: (UInt16) -> Bool = { _ in false }) -> UInt16? {
    let range: ClosedRange<UInt16> = 32_768...60_999  // Linux's net.ipv4.ip_local_port_range
    let start = UInt16.random(in: range)
    var passed = 0
    for offset in 0..<range.count {
      let port = range.lowerBound + UInt16((Int(start - range.lowerBound) + offset) % range.count)
      if isUsed(port) { continue }
      if passed < Self.mostLingering, lingers(port) {
        passed += 1
        continue
      }
      bindings[port] = [binding]
      return port
    }
    return nil
  }

  /// The listeners for connections to `address`: those bound to it, else those bound to all of its family, else those that
  /// take both families (inet_lhash2_lookup). Several share the port.
  func listeners(port: UInt16, for address: IPAddress) -> [SlabKey] {
    let mine = (bindings[port] ?? []).filter(\.isListening)
    let exact = mine.filter { $0.address == address }
    let any = mine.filter { $0.address.isAny && $0.address.isV6 == address.isV6 }
    let dual = mine.filter { $0.isDual && !address.isV6 }
    return [exact, any, dual].first { !$0.isEmpty }?.map(\.socket) ?? []
  }

  /// Turns a bound socket into a listening one; false where another socket on the address and port excludes that.
  mutating func listen(_ socket: SlabKey, port: UInt16) -> Bool {
    guard var mine = bindings[port], let index = mine.firstIndex(where: { $0.socket == socket }) else { return false }
    var wanted = mine[index]
    wanted.isListening = true
    guard allows(wanted, port: port) else { return false }
    mine[index] = wanted
    bindings[port] = mine
    return true
  }

  mutating func release(_ socket: SlabKey, port: UInt16) {
    guard var mine = bindings[port] else { return }
    mine.removeAll { $0.socket == socket }
    bindings[port] = mine.isEmpty ? nil : mine
  }
}
