internal import CLwip
internal import Frames
internal import Glibc

/// What an interface learns while it runs.
struct DynamicState {
  var autoconfiguration: Autoconfiguration?
  /// Of the above; kept, because the loop asks each turn.
  var autoconfigurationDeadline: UInt64 = .max
  var dhcp: DHCPClient?
  /// Addresses that new connections had better not use.
  var deprecated: Set<IPAddress> = []
  var reportedDuplicates: Set<IPAddress> = []
}

/// Addresses, routes and name servers from routers (SLAAC) and from DHCP servers. Their messages are taken here before
/// lwIP sees them, and sent as whole frames: a host without an address cannot use its own IP for that.
extension NetworkInterface {
  /// Begins to listen to routers' advertisements, and asks for one.
  public func beginAutoconfiguration() {
    dynamic.autoconfiguration = Autoconfiguration(
      interfaceIdentifier: linkLocal.low, nowMilliseconds: stack.nowMilliseconds)
    applyAutoconfiguration()
    stack.noteDynamic(self)
  }

  /// Begins to ask for a lease.
  public func beginDHCP() {
    dynamic.dhcp = DHCPClient(hardware: mac, nowMilliseconds: stack.nowMilliseconds)
    stack.noteDynamic(self)
  }

  /// Gives a lease back.
  public func endDHCP() {
    guard let client = dynamic.dhcp else { return }
    perform(client.release(nowMilliseconds: stack.nowMilliseconds))
    dynamic.dhcp = nil
  }

  /// Whether a DHCP server has granted an address; true where none is asked for.
  public var hasLease: Bool { dynamic.dhcp.map { $0.lease != nil } ?? true }

  /// Name servers that DHCP and routers told, in this order.
  public var learnedNameServers: [IPAddress] {
    (dynamic.dhcp?.lease?.nameServers ?? []) + (dynamic.autoconfiguration?.nameServers ?? [])
  }

  public var learnedDomains: [String] {
    (dynamic.dhcp?.lease?.domains ?? []) + (dynamic.autoconfiguration?.domains ?? [])
  }

  // MARK: Time

  /// When `expireDynamic` has something to do; nil for never.
  var dynamicDeadlineMilliseconds: UInt64? {
    guard dynamic.dhcp != nil || dynamic.autoconfiguration != nil else { return nil }
    let deadline = min(dynamic.dhcp?.deadlineMilliseconds ?? .max, dynamic.autoconfigurationDeadline)
    return deadline == .max ? nil : deadline
  }

  func expireDynamic() {
    let now = stack.nowMilliseconds
    if let deadline = dynamic.dhcp?.deadlineMilliseconds, deadline <= now {
      perform(dynamic.dhcp?.expire(nowMilliseconds: now) ?? [])
    }
    guard dynamic.autoconfigurationDeadline <= now else { return }
    let solicits = dynamic.autoconfiguration?.expire(nowMilliseconds: now) ?? false
    applyAutoconfiguration()
    if solicits { send(solicitation) }
    for address in duplicatedAddresses where dynamic.reportedDuplicates.insert(address).inserted {
      onNews("another host has \(address) already; it is not used")
    }
  }

  // MARK: Routers

  /// Takes a router's advertisement, if the frame is one that passes RFC 4861 section 6.1.2.
  func takeAdvertisement(_ frame: Frame) {
    guard dynamic.autoconfiguration != nil else { return }
    let bytes = frame.contents
    let payloadBytes = Int(bytes[18]) << 8 | Int(bytes[19])
    guard bytes[21] == 255, payloadBytes >= 16, bytes.count >= 54 + payloadBytes else { return }
    let (source, destination) = bytes.withUnsafeBytes {
      (IPAddress(bytes: $0.baseAddress! + 22, isV6: true), IPAddress(bytes: $0.baseAddress! + 38, isV6: true))
    }
    let message = Array(bytes[54..<(54 + payloadBytes)])
    let sum = IPHeader.pseudoSum(source, destination, IPHeader.icmpV6, bytes: message.count)
    guard frame.offload.isTrusted || message.folded(after: sum) == 0xffff,
      let advertisement = RouterAdvertisement(message, from: source)
    else { return }
    dynamic.autoconfiguration?.receive(advertisement, nowMilliseconds: stack.nowMilliseconds)
    applyAutoconfiguration()
  }

  private func applyAutoconfiguration() {
    guard let configuration = dynamic.autoconfiguration else { return }
    let now = stack.nowMilliseconds
    dynamic.deprecated = configuration.deprecated(nowMilliseconds: now)
    dynamic.autoconfigurationDeadline = configuration.deadlineMilliseconds(nowMilliseconds: now)
    let former = assigned[.router] ?? Assignment()
    let (addresses, routes) = (configuration.addresses, configuration.routes)
    setIPv6MTU(configuration.mtu)
    guard former.addresses != addresses || former.routes != routes else { return }
    for refused in assign(addresses: addresses, routes: routes, by: .router) {
      onNews("there is no room for the address \(refused)")
    }
    // Duplicate address detection takes a second or two; then look at its outcome.
    if former.addresses != addresses {
      dynamic.autoconfigurationDeadline = min(dynamic.autoconfigurationDeadline, now + 3000)
    }
    let told = addresses.map(\.description) + routes.map { "route \($0)" }
    onNews("router advertisement: " + (told.isEmpty ? "nothing is left of it" : told.joined(separator: ", ")))
  }

  /// A router solicitation (RFC 4861 section 4.1), from no address while the own one is being looked at.
  private var solicitation: [UInt8] {
    let isTentative = nc_ip6_state_is_tentative(nc_netif_ip6_state(netif, 0))
    let source = isTentative ? IPAddress.anyV6 : linkLocal
    var message: [UInt8] = [133, 0, 0, 0, 0, 0, 0, 0]
    if !isTentative { message += [1, 1] + mac.bytes }
    let sum = IPHeader.pseudoSum(source, .allRouters, IPHeader.icmpV6, bytes: message.count)
    message.store(~message.folded(after: sum), at: 2)
    let header: [UInt8] = [0x60, 0, 0, 0, 0, UInt8(message.count), IPHeader.icmpV6, 255]
    return [0x33, 0x33, 0, 0, 0, 2] + mac.bytes + [0x86, 0xdd] + header + source.network
      + IPAddress.allRouters.network + message
  }

  // MARK: DHCP

  /// Takes a frame to the DHCP client's port; true where it was for the client.
  func takeDHCP(_ frame: Frame) -> Bool {
    guard dynamic.dhcp != nil, frame.head.count >= 34, frame.head[23] == IPHeader.udp,
      frame.head[20] & 0x3f == 0, frame.head[21] == 0
    else { return false }
    let bytes = frame.contents
    let udp = 14 + Int(bytes[14] & 0xf) * 4
    guard bytes.count >= udp + 8, Int(bytes[udp + 2]) << 8 | Int(bytes[udp + 3]) == Int(DHCPMessage.clientPort) else {
      return false
    }
    let udpBytes = Int(bytes[udp + 4]) << 8 | Int(bytes[udp + 5])
    guard udpBytes >= 8, bytes.count >= udp + udpBytes else { return true }
    let (source, destination) = bytes.withUnsafeBytes {
      (IPAddress(bytes: $0.baseAddress! + 26, isV6: false), IPAddress(bytes: $0.baseAddress! + 30, isV6: false))
    }
    let datagram = Array(bytes[udp..<(udp + udpBytes)])
    let sum = IPHeader.pseudoSum(source, destination, IPHeader.udp, bytes: datagram.count)
    let hasSum = datagram[6] != 0 || datagram[7] != 0
    guard frame.offload.isTrusted || !hasSum || datagram.folded(after: sum) == 0xffff else { return true }
    if let message = DHCPMessage(reply: Array(datagram[8...])) {
      perform(dynamic.dhcp?.receive(message, nowMilliseconds: stack.nowMilliseconds) ?? [])
    }
    return true
  }

  /// Looks whether an ARP packet shows another host with the address that a server offers.
  func watchForConflict(_ arp: UnsafeRawPointer) {
    guard let probed = dynamic.dhcp?.probed, MACAddress(reading: arp + 8) != mac else { return }
    let (sender, target) = (IPAddress(bytes: arp + 14, isV6: false), IPAddress(bytes: arp + 24, isV6: false))
    // Another's probe for the same address is a conflict too (RFC 5227 section 2.1.1).
    guard sender == probed || sender.isAny && target == probed else { return }
    perform(dynamic.dhcp?.conflict(nowMilliseconds: stack.nowMilliseconds) ?? [])
  }

  private func perform(_ actions: [DHCPClient.Action]) {
    for action in actions {
      switch action {
      case .broadcast(let message): send(broadcastFrame(message.encoded))
      case .unicast(let message, let server): sendToServer(message, server)
      case .probe(let address): send(arpRequest(from: .anyV4, for: address))
      case .announce(let address): send(arpRequest(from: address, for: address))
      case .assign(let lease):
        for refused in assign(addresses: [lease.address], routes: lease.routes, by: .dhcp) {
          onNews("there is no room for the address \(refused)")
        }
        let names = lease.nameServers.map { "name server \($0)" }
        let span = lease.seconds.map { "for \($0) s" } ?? "for ever"
        let parts = ["\(lease.address) \(span)"] + lease.routes.map { "route \($0)" } + names
        onNews("DHCP server \(lease.server) granted " + parts.joined(separator: ", "))
      case .withdraw(let reason):
        assign(addresses: [], routes: [], by: .dhcp)
        onNews(reason)
      case .note(let text): onNews(text)
      }
    }
  }

  private func sendToServer(_ message: DHCPMessage, _ server: IPAddress) {
    let source = Endpoint(address: message.client, port: DHCPMessage.clientPort)
    let destination = Endpoint(address: server, port: DHCPMessage.serverPort)
    message.encoded.withUnsafeBytes {
      // What cannot be sent now is asked again later, of all servers in the end.
      try? stack.send(
        .udp, from: self, source: source, destination: destination, payload: $0, options: DatagramOptions())
    }
  }

  /// UDP from 0.0.0.0 to 255.255.255.255, as a frame.
  private func broadcastFrame(_ payload: [UInt8]) -> [UInt8] {
    let everybody = IPAddress(network: [255, 255, 255, 255])!
    var udp: [UInt8] = [0, UInt8(DHCPMessage.clientPort), 0, UInt8(DHCPMessage.serverPort), 0, 0, 0, 0] + payload
    udp.store(UInt16(udp.count).bigEndian, at: 4)
    let sum = IPHeader.pseudoSum(.anyV4, everybody, IPHeader.udp, bytes: udp.count)
    let folded = ~udp.folded(after: sum)
    udp.store(folded == 0 ? 0xffff : folded, at: 6)
    var ip: [UInt8] = [0x45, 0, 0, 0, 0, 0, 0, 0, 64, IPHeader.udp, 0, 0] + IPAddress.anyV4.network + everybody.network
    ip.store(UInt16(20 + udp.count).bigEndian, at: 2)
    ip.store(~ip.folded(after: 0), at: 10)
    return [UInt8](repeating: 0xff, count: 6) + mac.bytes + [8, 0] + ip + udp
  }

  /// RFC 826, in an Ethernet frame of the least length.
  private func arpRequest(from sender: IPAddress, for target: IPAddress) -> [UInt8] {
    let head = [UInt8](repeating: 0xff, count: 6) + mac.bytes + [8, 6]
    let arp: [UInt8] = [0, 1, 8, 0, 6, 4, 0, 1] + mac.bytes + sender.network + [0, 0, 0, 0, 0, 0] + target.network
    return head + arp + [UInt8](repeating: 0, count: 18)
  }

  private func send(_ frame: [UInt8]) {
    guard let p = pbuf_alloc(PBUF_RAW, UInt16(frame.count), PBUF_RAM) else {
      counters.noMemory += 1
      return
    }
    _ = pbuf_take(p, frame, UInt16(frame.count))
    _ = transmit(p)
    pbuf_free(p)
  }
}

extension IPAddress {
  /// ff02::2
  fileprivate static let allRouters = IPAddress("ff02::2")!

  /// The prefix's high half with an interface's identifier.
  func withInterface(_ identifier: UInt64) -> IPAddress {
    IPAddress(
      network: network.prefix(8) + (0..<8).map { UInt8(truncatingIfNeeded: identifier >> (56 - 8 * UInt64($0))) })!
  }
}

extension Frame {
  /// All bytes, in one piece.
  fileprivate var contents: [UInt8] {
    var bytes: [UInt8] = []
    bytes.reserveCapacity(self.bytes)
    for index in 0..<count {
      bytes += UnsafeRawBufferPointer(start: vectors[index].iov_base, count: vectors[index].iov_len)
    }
    return bytes
  }
}

extension [UInt8] {
  /// The Internet checksum's sum over these bytes and what was summed before, as the 16 bits in memory order.
  fileprivate func folded(after sum: UInt64) -> UInt16 {
    nc_sum_fold(withUnsafeBytes { nc_sum_add(sum, false, $0.baseAddress, $0.count) })
  }

  fileprivate mutating func store(_ value: UInt16, at offset: Int) {
    withUnsafeMutableBytes { $0.storeBytes(of: value, toByteOffset: offset, as: UInt16.self) }
  }
}
