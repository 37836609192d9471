internal import Frames
internal import Glibc
internal import Links
internal import LwipGlue
internal import NetcondRPC

/// What programs see of a network's interfaces and name servers (NC_OP_FACTS): lo and the network's own, as netdevice(7)
/// and getifaddrs(3) show them.
extension Daemon {
  private static let interfaceNames = ["lo", "nc0"]
  /// lo's MTU as Linux sets it (drivers/net/loopback.c).
  private static let loopbackMTU: UInt32 = 65_536
  private static let lowerUp: UInt32 = 0x10000  // IFF_LOWER_UP, linux/if.h

  /// Answers one question. Returns 0, ENOENT beyond the last, or EINVAL for a question unknown.
  func fillFact(_ request: nc_request, _ network: Network, _ reply: inout nc_reply) -> Int32 {
    let index = Int(request.argument.1)
    guard index >= 0 else { return EINVAL }
    switch UInt32(bitPattern: request.argument.0) {
    case NC_FACT_INTERFACE.rawValue:
      guard index < Self.interfaceNames.count else { return ENOENT }
      return reply.fill(interfaceFact(network, isLoopback: index == 0))
    case NC_FACT_ADDRESS.rawValue:
      let facts = addressFacts(network)
      return index < facts.count ? reply.fill(facts[index]) : ENOENT
    case NC_FACT_DNS.rawValue:
      guard index < network.nameServers.count else { return ENOENT }
      return reply.fill(nc_address(Endpoint(address: network.nameServers[index], port: 53)))
    case NC_FACT_SEARCH.rawValue:
      guard index < network.searchDomains.count else { return ENOENT }
      let text = Array(network.searchDomains[index].utf8.prefix(Int(NC_REPLY_DATA_BYTES) - 1))
      withUnsafeMutableBytes(of: &reply.data) { $0.copyBytes(from: text) }
      return 0
    default: return EINVAL
    }
  }

  private func interfaceFact(_ network: Network, isLoopback: Bool) -> nc_interface_fact {
    var fact = nc_interface_fact()
    withUnsafeMutableBytes(of: &fact.name) { $0.copyBytes(from: Self.interfaceNames[isLoopback ? 0 : 1].utf8) }
    fact.index = UInt32(isLoopback ? NC_INTERFACE_INDEX_LO : NC_INTERFACE_INDEX_NETWORK)
    let running = UInt32(IFF_UP | IFF_RUNNING) | Self.lowerUp
    if isLoopback {
      fact.flags = running | UInt32(IFF_LOOPBACK)
      fact.mtu = Self.loopbackMTU
    } else {
      let up = network.link.facts.isUp ? running : UInt32(IFF_UP)
      fact.flags = up | UInt32(IFF_BROADCAST | IFF_MULTICAST)
      fact.mtu = UInt32(network.interface.mtu)
      withUnsafeMutableBytes(of: &fact.hardware) { $0.copyBytes(from: network.interface.mac.bytes) }
    }
    if network.configuration.outside == .host { fact.policy |= UInt16(NC_POLICY_OUTSIDE_HOST) }
    if network.configuration.loopback == .host { fact.policy |= UInt16(NC_POLICY_LOOPBACK_HOST) }
    return fact
  }

  /// In getifaddrs(3)'s order: IPv4 before IPv6, lo before the network's own.
  private func addressFacts(_ network: Network) -> [nc_address_fact] {
    let own = network.interface.addresses.filter { !$0.address.isLoopback }
    let linkLocal = InterfaceAddress(address: network.interface.linkLocal, prefixBits: 64)
    let lo = NC_INTERFACE_INDEX_LO, nc0 = NC_INTERFACE_INDEX_NETWORK
    return [nc_address_fact(InterfaceAddress(address: .loopbackV4, prefixBits: 8), lo)]
      + own.filter { !$0.address.isV6 }.map { nc_address_fact($0, nc0) }
      + [nc_address_fact(InterfaceAddress(address: .loopbackV6, prefixBits: 128), lo)]
      + (own.filter { $0.address.isV6 } + [linkLocal]).map { nc_address_fact($0, nc0) }
  }
}

extension nc_address_fact {
  fileprivate init(_ address: InterfaceAddress, _ interface: Int) {
    self.init()
    self.address = nc_address(Endpoint(address: address.address, port: 0))
    self.interface = UInt32(interface)
    prefix_bits = UInt32(address.prefixBits)
    if !address.address.isLoopback, let own = address.broadcast {
      broadcast = nc_address(Endpoint(address: own, port: 0))
    }
  }
}

extension nc_reply {
  /// Puts a fact into the data. Returns 0.
  fileprivate mutating func fill<Fact: BitwiseCopyable>(_ fact: Fact) -> Int32 {
    withUnsafeMutableBytes(of: &data) { $0.storeBytes(of: fact, as: Fact.self) }
    return 0
  }
}
