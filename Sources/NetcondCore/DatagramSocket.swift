internal import Glibc
internal import LwipGlue
internal import NetcondRPC
internal import Slab

/// One intercepted datagram socket: UDP, or ICMP echo (icmp(7)). Lives from the RPC that makes it until the last app end
/// has closed and its operations have completed.
struct DatagramSocket: ~Copyable {
  let id: UInt64
  let network: Int
  /// AF_INET or AF_INET6, as the app asked.
  let family: Int32
  let kind: DatagramProtocol
  /// The daemon's end.
  let fd: Int32
  /// SO_COOKIE of the app's end, by which RPCs find the socket.
  let cookie: UInt64
  /// Who asked for it; it may have handed it on.
  let process: Int32
  var isClosing = false
  /// A receive from the app is under way (it stays so over many datagrams), or a poll for the app's close.
  var isReceiving = false
  var isWatching = false
  /// What it is bound to, and its port or identifier; nil while it has none.
  var local: Endpoint?
  /// bind() gave the address, or the port: connect and disconnect leave them alone (SOCK_BINDADDR_LOCK, _BINDPORT_LOCK).
  var keepsAddress = false
  var keepsPort = false
  var peer: Endpoint?
  /// Sockets of the host's for what goes outside the network, at most one of each family.
  var hosts: [HostDatagramSocket] = []
  /// What the app has set, for those made later; kept only where the network's policy allows one.
  var hostOptions: [HostOption] = []
  /// Bound to an address of the host's: nothing of it is the network's.
  var isHostBound = false
  var peerIsOutside = false
  var options: SocketOptions
  /// What `options` say, for each datagram.
  var settings: DatagramSettings
  var memberships: [Membership] = []
  /// A datagram that the app sends in pieces (MSG_MORE, UDP_CORK): what came with the first, and all payload so far.
  var joined: (header: nc_datagram, payload: [UInt8])?
  /// Datagrams for the app that its end had no room for.
  var drops: UInt64 = 0

  init(
    id: UInt64, network: Int, family: Int32, kind: DatagramProtocol, fd: Int32, cookie: UInt64, process: Int32
  ) {
    self.id = id
    self.network = network
    self.family = family
    self.kind = kind
    self.fd = fd
    self.cookie = cookie
    self.process = process
    options = SocketOptions(SocketKind(transport: kind == .udp ? .datagram : .ping, isV6: family == AF_INET6))
    settings = DatagramSettings(options)
  }

  var isV6: Bool { family == AF_INET6 }
  var anyAddress: IPAddress { isV6 ? .anyV6 : .anyV4 }

  /// The address it speaks from where the datagram does not say; nil: what the route gives.
  func sourceAddress(_ interface: NetworkInterface) -> IPAddress? {
    guard let address = local?.address, !address.isAny, !address.isMulticast, !interface.isBroadcast(address) else {
      return nil
    }
    return address
  }

  func binding(_ key: SlabKey, _ address: IPAddress, reusesAddress: Bool) -> DatagramTable.Binding {
    DatagramTable.Binding(
      socket: key, address: address, isV6Socket: isV6, isV6Only: settings.isV6Only,
      reusesAddress: reusesAddress || settings.reusesAddress, reusesPort: settings.reusesPort, peer: peer)
  }
}

/// The options that matter to each datagram, read once after each change. The numbers are linux/in.h's and in6.h's.
struct DatagramSettings {
  var reusesAddress = false
  var reusesPort = false
  var mayBroadcast = false
  var isV6Only = false
  var (hops, hopsV6) = (UInt8(64), UInt8(64))
  var (multicastHops, multicastHopsV6) = (UInt8(1), UInt8(1))
  var (trafficClass, trafficClassV6) = (UInt8(0), UInt8(0))
  var (loops, loopsV6) = (true, true)
  var (reportsErrors, reportsErrorsV6) = (false, false)
  /// Groups joined by other sockets of the network are heard too (IP_MULTICAST_ALL).
  var (hearsAllGroups, hearsAllGroupsV6) = (true, true)
  /// IP_PMTUDISC_…
  var (discovery, discoveryV6) = (Int32(1), Int32(1))
  var neverFragmentsV6 = false
  /// SO_RCVBUF, as it reads back: twice what was asked for.
  var receiveBufferBytes: Int32 = 212_992
  /// UDP_SEGMENT: larger payloads are cut into datagrams of so many bytes; 0: they are not.
  var segmentBytes = 0
  /// IP_MULTICAST_IF: an address of the interface to use.
  var multicastSource: IPAddress?

  init(_ options: SocketOptions) {
    func ip(_ name: Int32) -> Int32 { options.value(.ip(name)) }
    func ip6(_ name: Int32) -> Int32 { options.value(.ipv6(name)) }
    func socket(_ name: Int32) -> Int32 { options.value(.socket(name)) }
    reusesAddress = socket(SO_REUSEADDR) != 0
    reusesPort = socket(SO_REUSEPORT) != 0
    mayBroadcast = socket(SO_BROADCAST) != 0
    isV6Only = ip6(26) != 0
    hops = UInt8(clamping: ip(2))
    hopsV6 = UInt8(clamping: ip6(16))
    multicastHops = UInt8(clamping: ip(33))
    multicastHopsV6 = UInt8(clamping: ip6(18))
    trafficClass = UInt8(clamping: ip(1))
    trafficClassV6 = UInt8(clamping: ip6(67))
    loops = ip(34) != 0
    loopsV6 = ip6(19) != 0
    reportsErrors = ip(11) != 0
    reportsErrorsV6 = ip6(25) != 0
    hearsAllGroups = ip(49) != 0
    hearsAllGroupsV6 = ip6(29) != 0
    discovery = ip(10)
    discoveryV6 = ip6(23)
    neverFragmentsV6 = ip6(62) != 0
    segmentBytes = options.kind.transport == .datagram ? Int(options.value(SocketOptions.Key(level: 17, name: 103))) : 0
    receiveBufferBytes = socket(SO_RCVBUF)
    if let address = options.explicit(.ip(32)), address != 0 {
      multicastSource = withUnsafeBytes(of: address) { IPAddress(bytes: $0.baseAddress!, isV6: false) }
    }
  }

  /// IP_PMTUDISC_DO, _PROBE: what exceeds the MTU is EMSGSIZE.
  func neverFragments(isV6: Bool) -> Bool {
    let mode = isV6 ? discoveryV6 : discovery
    return mode == 2 || mode == 3 || isV6 && neverFragmentsV6
  }
}
