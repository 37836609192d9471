internal import Frames
internal import Glibc
internal import Links
internal import Logging
internal import LwipGlue

/// One network: its wire, its interface in the stack, and the unix socket that apps come to.
final class Network: LinkDelegate, FrameTransmitter {
  let number: Int
  let id: NetworkID
  let socketPath: String
  let link: any Link
  private(set) var interface: NetworkInterface!
  /// The listening RPC socket.
  private(set) var listenFd: Int32 = -1
  /// No descriptor was left for another program; the loop tries again soon.
  var acceptIsPaused = false
  var ports = PortTable()
  var udp = DatagramTable(.udp)
  /// Of ICMP sockets.
  var identifiers = DatagramTable(.identifiers)
  /// Open sockets by the cookie of the app's end.
  var socketsByCookie: [UInt64: UInt64] = [:]
  var datagramsByCookie: [UInt64: UInt64] = [:]
  let configuration: NetworkConfiguration
  private let stack: Stack
  private let log: Logger
  private var warnedDown = false
  private var hasBegun = false

  init(
    number: Int, configuration: NetworkConfiguration, home: Home, link: any Link, stack: Stack, log: Logger
  ) throws {
    self.number = number
    self.id = configuration.id
    self.configuration = configuration
    self.link = link
    self.stack = stack
    self.log = log
    socketPath = home.socketPath(configuration.id)
    let offloads = link.facts.offloads == .all
    guard
      let interface = stack.makeInterface(
        name: "\(id)", mac: configuration.mac ?? home.mac(for: id), mtu: link.facts.mtu, offloads: offloads,
        addresses: configuration.addresses, routes: configuration.routes, transmitter: self)
    else {
      throw ConfigurationErrors([
        ConfigurationError(
          file: configuration.file, line: 0, cause: "the stack has no room for this network's interface or addresses",
          cure: "a daemon serves 250 networks with 16 addresses each (6 in all with NETCOND_LWIP=system)")
      ])
    }
    self.interface = interface
    takeAssignment(of: link.facts)
    interface.onNews = { [log, id] in log.notice("network \(id): \($0)") }
  }

  /// Starts the link, and begins to ask for what the file leaves to the network.
  func begin(_ context: LinkContext) {
    link.start(context, delegate: self)
    hasBegun = true
    if configuration.usesAutoconfiguration { interface.beginAutoconfiguration() }
    if configuration.usesDHCP { interface.beginDHCP() }
  }

  /// Name servers in order of preference.
  var nameServers: [IPAddress] { (configuration.nameServers + interface.learnedNameServers).withoutRepeats }
  var searchDomains: [String] {
    configuration.searchDomains.isEmpty ? interface.learnedDomains.withoutRepeats : configuration.searchDomains
  }

  /// For the log: link, addresses, MTU, hardware address, offloads.
  var facts: String {
    let addresses = interface.addresses.filter { !$0.address.isLoopback }.map(\.description)
    let offloads = interface.offloads ? "offloads" : "no offloads"
    let rest = ["mtu \(interface.mtu)", "mac \(interface.mac)", offloads]
    return ([link.name] + addresses + rest).joined(separator: ", ")
  }

  /// Opens the RPC socket; a stale one of a daemon that is gone is replaced.
  func openSocket() throws {
    let fd = socket(AF_UNIX, Int32(SOCK_SEQPACKET.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
    guard fd >= 0 else { throw HomeError(description: "\(socketPath): \(String(cString: strerror(errno)))") }
    unlink(socketPath)
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: socketPath.utf8) }
    let bound = withUnsafePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { bind(fd, $0, socklen_t(MemoryLayout<sockaddr_un>.size)) }
    }
    // Whoever may enter the home's folder may use the network: the folder's permissions are the policy.
    guard bound == 0, chmod(socketPath, 0o666) == 0, listen(fd, 1024) == 0 else {
      let cause = String(cString: strerror(errno))
      close(fd)
      throw HomeError(description: "\(socketPath): \(cause); check the home folder's permissions")
    }
    listenFd = fd
  }

  /// Stops accepting apps and removes the socket from the home folder.
  func closeSocket() {
    guard listenFd >= 0 else { return }
    unlink(socketPath)
    close(listenFd)
    listenFd = -1
  }

  /// What the link and the interface did since they were made, for the control interface.
  var counterDictionary: [String: UInt64] {
    let (frames, packets) = (link.counters, interface.counters)
    var all = [
      "receivedFrames": frames.receivedFrames, "receivedBytes": frames.receivedBytes, "sentFrames": frames.sentFrames,
      "sentBytes": frames.sentBytes, "linkDropped": frames.dropped, "linkFull": packets.linkFull,
      "notForUs": packets.notForUs, "malformed": packets.malformed, "noMemory": packets.noMemory,
      "fragmentsDropped": packets.fragments,
    ]
    guard let link = link as? ImpairedLink else { return all }
    for (direction, counters) in [("impairIn", link.inboundCounters), ("impairOut", link.outboundCounters)] {
      guard let counters else { continue }
      for (name, value) in [
        ("Packets", counters.packets), ("Lost", counters.lost), ("Duplicated", counters.duplicated),
        ("Reordered", counters.reordered), ("Corrupted", counters.corrupted), ("OverLimit", counters.overLimit),
        ("NoFrame", counters.noFrame),
      ] { all[direction + name] = value }
    }
    return all
  }

  /// Tells what befell the packets of an impaired link.
  func reportImpairments() {
    guard let link = link as? ImpairedLink else { return }
    for (direction, counters) in [("in", link.inboundCounters), ("out", link.outboundCounters)] {
      if let counters { log.notice("network \(id): impair-\(direction): \(counters)") }
    }
  }

  // MARK: The link's delegate and the interface's transmitter

  func link(_ link: any Link, received frame: Frame) { interface.receive(frame) }

  func linkReady(_ link: any Link) { stack.linkReady() }

  func linkChanged(_ link: any Link) {
    takeAssignment(of: link.facts)
    guard !link.facts.isUp, !warnedDown else { return }
    warnedDown = true
    log.error("network \(id): \(link.name) gives no more frames; was the device removed?")
  }

  /// Gives the interface what the link assigns.
  private func takeAssignment(of facts: LinkFacts) {
    let addresses = facts.addresses.compactMap(\.interfaceAddress)
    let routes = facts.routes.compactMap { route in
      route.destination.interfaceAddress.map {
        Route(destination: $0, gateway: route.gateway.flatMap { IPAddress(network: $0) })
      }
    }
    for address in interface.assign(addresses: addresses, routes: routes, by: .link) {
      log.error("network \(id): no room for \(link.name)'s address \(address)")
    }
  }

  /// What the stack says before the link has begun is lost, as on a cable that is not plugged in yet.
  func transmit(_ frame: Frame) -> Bool { hasBegun ? link.transmit(frame) : true }
  var keepsFrames: Bool { link.keepsFrames }
}

extension LinkAddress {
  fileprivate var interfaceAddress: InterfaceAddress? {
    guard let address = IPAddress(network: bytes), (0...address.bits).contains(prefixBits) else { return nil }
    return InterfaceAddress(address: address, prefixBits: prefixBits)
  }
}

extension Array where Element: Hashable {
  /// Each element once, where it first stands.
  fileprivate var withoutRepeats: [Element] {
    var seen: Set<Element> = []
    return filter { seen.insert($0).inserted }
  }
}
