internal import CLwip
public import Frames
internal import Glibc

/// Where an interface's outgoing frames go. Implemented by whoever owns the link.
public protocol FrameTransmitter: AnyObject {
  /// Takes a frame (retaining it as long as needed); false where the link is full.
  func transmit(_ frame: Frame) -> Bool
  /// Frames may be held for long after `transmit`: by a queue, or by other stacks that read them in place.
  var keepsFrames: Bool { get }
}

/// What an interface did with packets, since it was made.
public struct InterfaceCounters: Sendable, Equatable {
  /// Frames for other hosts or networks: not for this interface.
  public var notForUs: UInt64 = 0
  /// Frames too short for what they say they are.
  public var malformed: UInt64 = 0
  /// Frames lost for want of memory or frame slots.
  public var noMemory: UInt64 = 0
  /// Fragments, and packets of them, that were dropped: malformed, overlapping, too many, or never completed.
  public var fragments: UInt64 = 0
  /// Frames the link refused; TCP sends them again.
  public var linkFull: UInt64 = 0
}

/// One virtual Ethernet interface: an lwIP `netif` with its addresses, fed with frames and giving frames.
///
/// Theory of operation: on a link that offloads checksums and segmentation, lwIP is told an MTU of 65,535 and builds
/// frames of up to 64 KiB; `transmit` then fills the offload header, clamps the MSS that a SYN announces to the real MTU,
/// and fragments what is not TCP. On any other link lwIP sees the real MTU and does it all itself.
///
/// lwIP gives a netif one IPv4 address. Further ones are had by showing lwIP that address, which a received packet is
/// for, while it processes the packet (`admit`), and by the gateway hook for their subnets.
///
/// lwIP accepts a packet for any netif's address on any netif; `admit` drops what is not for this one, so that networks of
/// one process stay apart. The packaged library has no hooks: it finds the way of an answer without a PCB by the
/// netifs' addresses alone, and cannot loop a packet without its own thread. There an interface shows its IPv4 address
/// only while it is served (`hideV4`), and connections to own addresses are refused.
public final class NetworkInterface: FrameSource {
  let netif: UnsafeMutablePointer<netif>
  public let name: String
  public let mac: MACAddress
  /// The link's MTU in bytes.
  public let mtu: Int
  /// Frames with unfinished checksums and TCP payload beyond the MTU may be handed to the link.
  public let offloads: Bool
  public internal(set) var addresses: [InterfaceAddress] = []
  var routes = RouteTable()
  /// What each source has assigned, beside the addresses and routes given at the start.
  var assigned: [AddressSource: Assignment] = [:]
  public internal(set) var counters = InterfaceCounters()
  var datagrams = InterfaceDatagramState()
  var dynamic = DynamicState()
  /// What IPv6 packets may have: the link's MTU, unless a router says less.
  public internal(set) var ipv6MTU: Int
  /// Told what the interface learned or lost, as text for the log.
  public var onNews: (String) -> Void = { _ in }
  let stack: Stack
  let frames: FramePool
  unowned var transmitter: (any FrameTransmitter)?
  /// The next hop last told to lwIP, which reads it when the hook has returned.
  var hopV4 = ip4_addr_t()
  var hopV6 = ip6_addr_t()

  public var isScarce: Bool { frames.isScarce || stack.sendMemory?.isScarce == true }
  /// lwIP's number of the interface, from 1; keeps the sockets of one network from another's.
  var index: UInt8 { nc_netif_index(netif) }
  /// The same, for those who get it back in `Stack.reservedPorts`.
  public var number: UInt8 { index }

  /// Adds an interface to the stack.
  /// - Parameters:
  ///   - mtu: at least 1,280 for IPv6 (RFC 8200 section 5), at least 68 for IPv4 (RFC 791).
  ///   - frames: the pool its outgoing frames come from.
  init(
    stack: Stack, name: String, mac: MACAddress, mtu: Int, offloads: Bool, frames: FramePool,
    transmitter: any FrameTransmitter
  ) {
    self.stack = stack
    self.name = name
    self.mac = mac
    self.mtu = mtu
    ipv6MTU = mtu
    self.offloads = offloads && nc_lwip_is_source_build()
    self.frames = frames
    self.transmitter = transmitter
    netif = .allocate(capacity: 1)
    netif.initialize(to: CLwip.netif())
    netif_add_noaddr(
      netif, Unmanaged.passUnretained(self).toOpaque(),
      { netif in
        NetworkInterface.of(netif).configure()
        return err_t(ERR_OK.rawValue)
      }, { p, netif in ethernet_input(p, netif) })
    nc_netif_set_checksum_generation(netif, !self.offloads)
    netif_set_link_up(netif)
    netif_set_up(netif)
    netif_create_ip6_linklocal_address(netif, 1)
  }

  static func of(_ netif: UnsafeMutablePointer<netif>?) -> NetworkInterface {
    Unmanaged<NetworkInterface>.fromOpaque(netif!.pointee.state).takeUnretainedValue()
  }

  private func configure() {
    netif.pointee.name = (CChar(UInt8(ascii: "n")), CChar(UInt8(ascii: "c")))
    netif.pointee.hwaddr_len = 6
    withUnsafeMutableBytes(of: &netif.pointee.hwaddr) { $0.copyBytes(from: mac.bytes) }
    netif.pointee.mtu = offloads ? .max : UInt16(mtu)
    nc_netif_set_mtu6(netif, netif.pointee.mtu)
    let flags =
      UInt32(NETIF_FLAG_BROADCAST) | UInt32(NETIF_FLAG_ETHARP) | UInt32(NETIF_FLAG_ETHERNET)
      | UInt32(NETIF_FLAG_IGMP) | UInt32(NETIF_FLAG_MLD6)
    netif.pointee.flags = UInt8(flags)
    netif.pointee.output = { netif, p, destination in NetworkInterface.of(netif).outputV4(p, destination) }
    netif.pointee.output_ip6 = { netif, p, destination in NetworkInterface.of(netif).outputV6(p, destination) }
    netif.pointee.linkoutput = { netif, p in NetworkInterface.of(netif).transmit(p) }
  }

  // MARK: Input

  /// Takes a received frame. Calls into lwIP, so events may be waiting afterwards (`Stack.nextEvent`).
  public func receive(_ frame: Frame) {
    let head = frame.head
    guard head.count >= 14 else {
      counters.malformed += 1
      return
    }
    guard admit(frame) else { return }
    defer {
      hideV4()
      stack.leaveLwip()
    }
    if isFragment(head) { return receiveFragment(frame) }
    guard let p = PacketBuffers.make(frame) else {
      counters.noMemory += 1
      return
    }
    nc_netif_set_checksum_check(netif, !frame.offload.isTrusted)
    present(p, skip: 14)
    if ethernet_input(p, netif) != ERR_OK.rawValue { pbuf_free(p) }
  }

  /// Whether the frame is for this interface; makes lwIP see the IPv4 address it is for.
  private func admit(_ frame: Frame) -> Bool {
    let head = frame.head
    let base = head.baseAddress.unsafelyUnwrapped
    let destination = MACAddress(reading: base)
    guard destination == mac || destination.isGroup else { return refuse() }
    switch UInt16(bigEndian: base.loadUnaligned(fromByteOffset: 12, as: UInt16.self)) {
    case 0x0800:
      guard head.count >= 34 else { return refuseMalformed() }
      if dynamic.dhcp != nil, takeDHCP(frame) { return false }
      guard !isOwn(IPAddress(bytes: base + 26, isV6: false)) else { return refuse() }
      return admitV4(IPAddress(bytes: base + 30, isV6: false))
    case 0x0806:
      guard head.count >= 42 else { return refuseMalformed() }
      watchForConflict(base + 14)
      let target = IPAddress(bytes: base + 38, isV6: false)
      if let own = addresses.first(where: { $0.address == target }) { showV4(own) }
      return true
    case 0x86dd:
      guard head.count >= 54 else { return refuseMalformed() }
      if head.count > 54, base.load(fromByteOffset: 20, as: UInt8.self) == IPHeader.icmpV6,
        base.load(fromByteOffset: 54, as: UInt8.self) == 134
      {
        takeAdvertisement(frame)  // never lwIP's: only networks that ask for it learn from routers
        return false
      }
      // Only neighbour discovery may come from an address of ours: so another host that has it too is found out.
      let isDiscovery =
        head.count > 54 && base.load(fromByteOffset: 20, as: UInt8.self) == 58
        && (135...136).contains(base.load(fromByteOffset: 54, as: UInt8.self))
      guard isDiscovery || !isOwn(IPAddress(bytes: base + 22, isV6: true)) else { return refuse() }
      let target = IPAddress(bytes: base + 38, isV6: true)
      return target.isMulticast || (!target.isLoopback && owns(target)) || refuse()
    default:
      return refuse()
    }
  }

  /// Nobody else on the wire may speak from these; an answer would come back to ourselves (RFC 1812 section 5.3.8).
  private func isOwn(_ source: IPAddress) -> Bool {
    source.isLoopback || addresses.contains { $0.address == source }
  }

  private func admitV4(_ target: IPAddress) -> Bool {
    if let own = addresses.first(where: { $0.address == target || $0.broadcast == target }) {
      showV4(own)
      return true
    }
    guard target.isMulticast || target.isLimitedBroadcast else { return refuse() }
    if let first = addresses.first(where: { !$0.address.isV6 }) { showV4(first) }
    return true
  }

  private func refuse() -> Bool {
    counters.notForUs += 1
    return false
  }

  private func refuseMalformed() -> Bool {
    counters.malformed += 1
    return false
  }

  /// Delivers what was sent to the interface's own addresses.
  func pollLoopback() {
    guard nc_netif_has_loopback(netif) else { return }
    nc_netif_move_to_front(netif)  // an answer from ::1 takes the first interface that has it
    let (address, mask) = (nc_netif_ip4(netif), nc_netif_ip4_mask(netif))
    while let p = nc_netif_take_loopback(netif) {
      if let fragment = loopedFragment(p) {
        receiveFragment(fragment)
        pbuf_free(p)
        continue
      }
      nc_netif_set_checksum_check(netif, false)  // never left this process
      showDestination(of: p)
      present(p, skip: 0)
      if ip_input(p, netif) != ERR_OK.rawValue { pbuf_free(p) }
      stack.leaveLwip()
    }
    nc_netif_put_ip4(netif, address, mask)
  }

  /// The only looped packets in fragments: IPv6 datagrams too large for lwIP's buffers. They are in one piece.
  private func loopedFragment(_ p: UnsafeMutablePointer<pbuf>) -> UnsafeRawBufferPointer? {
    let packet = UnsafeRawBufferPointer(start: p.pointee.payload, count: Int(p.pointee.len))
    return packet.count >= 48 && packet[0] >> 4 == 6 && packet[6] == IPHeader.fragment ? packet : nil
  }

  /// Makes lwIP see the IPv4 address that a looped packet is for: any of ours, and of 127.0.0.0/8.
  private func showDestination(of p: UnsafeMutablePointer<pbuf>) {
    guard p.pointee.len >= 20, p.pointee.payload.load(as: UInt8.self) >> 4 == 4 else { return }
    let target = IPAddress(bytes: p.pointee.payload + 16, isV6: false)
    if target.isLoopback {
      showV4(InterfaceAddress(address: target, prefixBits: 32))
    } else if let own = addresses.first(where: { $0.address == target || $0.broadcast == target })
      ?? addresses.first(where: { !$0.address.isV6 })
    {
      showV4(own)
    }
  }

  public func frameReleased(_ frame: Frame) {
    for index in 0..<frame.count { stack.sendMemory?.release(holding: frame.vectors[index].iov_base) }
    if let p = frame.context { pbuf_free(p.assumingMemoryBound(to: pbuf.self)) }
  }
}
