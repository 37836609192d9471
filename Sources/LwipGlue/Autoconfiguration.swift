/// Stateless address autoconfiguration (RFC 4862): what a host keeps of its routers' advertisements, with the time each
/// entry is good for. It knows no stack: `NetworkInterface+Dynamic.swift` carries out what it says.
struct Autoconfiguration {
  /// When an entry ends: milliseconds of the stack's clock; UInt64.max for never.
  typealias Moment = UInt64

  private struct Prefix {
    let prefix: InterfaceAddress
    var isOnLink: Bool
    var isAutonomous: Bool
    var valid: Moment
    var preferred: Moment
  }

  private var routers: [(address: IPAddress, until: Moment)] = []
  private var prefixes: [Prefix] = []
  private var moreRoutes: [(route: Route, until: Moment)] = []
  private var servers: [(server: IPAddress, until: Moment)] = []
  private var searches: [(domain: String, until: Moment)] = []
  private(set) var mtu: Int?
  private var solicitationsLeft = Self.solicitationCount
  private var nextSolicitation: Moment
  /// The low half of own addresses (RFC 4291 appendix A).
  private let interfaceIdentifier: UInt64

  private static let solicitationCount = 3  // MAX_RTR_SOLICITATIONS, RFC 4861 section 10
  private static let solicitationMilliseconds: UInt64 = 4000  // RTR_SOLICITATION_INTERVAL
  private static let twoHours: UInt64 = 7_200_000
  /// Entries of each kind: a wire full of nonsense must not fill the memory.
  private static let entryLimit = 16
  private static let addressLimit = 4

  init(interfaceIdentifier: UInt64, nowMilliseconds: UInt64) {
    self.interfaceIdentifier = interfaceIdentifier
    // Its own address is being looked at for a second; RFC 4861 section 6.3.7 wants a moment of chance before the first.
    nextSolicitation = nowMilliseconds + UInt64.random(in: 0...500)
  }

  // MARK: What holds now

  var addresses: [InterfaceAddress] {
    prefixes.filter { $0.isAutonomous && $0.prefix.prefixBits == 64 }.prefix(Self.addressLimit).map {
      // Off the link (no L flag) the prefix says nothing about neighbours.
      InterfaceAddress(
        address: $0.prefix.address.withInterface(interfaceIdentifier), prefixBits: $0.isOnLink ? 64 : 128)
    }
  }

  /// Addresses that new connections had better not use (RFC 4862 section 5.5.4).
  func deprecated(nowMilliseconds now: UInt64) -> Set<IPAddress> {
    Set(
      prefixes.filter { $0.isAutonomous && $0.preferred <= now }.map {
        $0.prefix.address.withInterface(interfaceIdentifier)
      })
  }

  var routes: [Route] {
    prefixes.filter { $0.isOnLink && !($0.isAutonomous && $0.prefix.prefixBits == 64) }.map {
      Route(destination: $0.prefix, gateway: nil)
    } + moreRoutes.map(\.route) + routers.map { .byDefault(via: $0.address) }
  }

  var nameServers: [IPAddress] { servers.map(\.server) }
  var domains: [String] { searches.map(\.domain) }

  // MARK: News

  /// Takes an advertisement.
  mutating func receive(_ advertisement: RouterAdvertisement, nowMilliseconds now: UInt64) {
    solicitationsLeft = 0
    func end(_ seconds: UInt32) -> Moment { seconds == .max ? .max : now + UInt64(seconds) * 1000 }
    let router = advertisement.router
    if let told = advertisement.mtu, told >= 1280 { mtu = told }
    routers.removeAll { $0.address == router }
    if advertisement.lifetimeSeconds > 0, routers.count < Self.entryLimit {
      routers.append((router, end(UInt32(advertisement.lifetimeSeconds))))
    }
    for prefix in advertisement.prefixes { take(prefix, now) }
    for one in advertisement.routes {
      let route = Route(destination: one.destination, gateway: router)
      moreRoutes.removeAll { $0.route == route }
      if one.seconds > 0, moreRoutes.count < Self.entryLimit { moreRoutes.append((route, end(one.seconds))) }
    }
    for names in advertisement.names {
      servers.removeAll { names.servers.contains($0.server) }
      searches.removeAll { names.domains.contains($0.domain) }
      guard names.seconds > 0 else { continue }
      servers += names.servers.prefix(Self.entryLimit - min(servers.count, Self.entryLimit)).map {
        ($0, end(names.seconds))
      }
      searches += names.domains.prefix(Self.entryLimit - min(searches.count, Self.entryLimit)).map {
        ($0, end(names.seconds))
      }
    }
    expireEntries(now)
  }

  private mutating func take(_ told: RouterAdvertisement.Prefix, _ now: UInt64) {
    guard !told.prefix.address.isLinkLocal, !told.prefix.address.isMulticast,
      told.preferredSeconds <= told.validSeconds
    else { return }
    func end(_ seconds: UInt32) -> Moment { seconds == .max ? .max : now + UInt64(seconds) * 1000 }
    guard let index = prefixes.firstIndex(where: { $0.prefix == told.prefix }) else {
      guard told.validSeconds > 0, prefixes.count < Self.entryLimit else { return }
      return prefixes.append(
        Prefix(
          prefix: told.prefix, isOnLink: told.isOnLink, isAutonomous: told.isAutonomous, valid: end(told.validSeconds),
          preferred: end(told.preferredSeconds)))
    }
    prefixes[index].isOnLink = prefixes[index].isOnLink || told.isOnLink
    prefixes[index].isAutonomous = prefixes[index].isAutonomous || told.isAutonomous
    prefixes[index].preferred = end(told.preferredSeconds)
    // RFC 4862 section 5.5.3 e: nobody but time may end an address sooner than in two hours.
    let (told, left) = (end(told.validSeconds), prefixes[index].valid)
    if !prefixes[index].isAutonomous || told > now + Self.twoHours || told > left {
      prefixes[index].valid = told
    } else if left > now + Self.twoHours {
      prefixes[index].valid = now + Self.twoHours
    }
  }

  // MARK: Time

  /// When `expire` has something to do.
  func deadlineMilliseconds(nowMilliseconds now: UInt64) -> UInt64 {
    var moments = routers.map(\.until) + moreRoutes.map(\.until) + servers.map(\.until) + searches.map(\.until)
    moments += prefixes.map(\.valid) + prefixes.map(\.preferred).filter { $0 > now }
    if solicitationsLeft > 0 { moments.append(nextSolicitation) }
    return moments.min() ?? .max
  }

  /// Drops what has ended.
  /// - Returns: whether a router is to be solicited now.
  mutating func expire(nowMilliseconds now: UInt64) -> Bool {
    expireEntries(now)
    guard solicitationsLeft > 0, now >= nextSolicitation else { return false }
    solicitationsLeft -= 1
    nextSolicitation = now + Self.solicitationMilliseconds
    return true
  }

  private mutating func expireEntries(_ now: UInt64) {
    routers.removeAll { $0.until <= now }
    prefixes.removeAll { $0.valid <= now }
    moreRoutes.removeAll { $0.until <= now }
    servers.removeAll { $0.until <= now }
    searches.removeAll { $0.until <= now }
  }
}
