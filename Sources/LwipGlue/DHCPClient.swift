internal import Frames

/// What a DHCP server has granted.
public struct DHCPLease: Sendable, Equatable {
  public let address: InterfaceAddress
  public let routes: [Route]
  public let nameServers: [IPAddress]
  public let domains: [String]
  public let server: IPAddress
  /// Nil: for ever.
  public let seconds: UInt32?
}

/// The client of RFC 2131: a state machine fed with messages and with time, that says what is to be done. It knows no
/// stack: `NetworkInterface+Dynamic.swift` carries its actions out.
struct DHCPClient {
  /// The states of RFC 2131 section 4.4 that a client without a memory of former leases comes through.
  private enum State {
    /// DISCOVER is out.
    case selecting
    /// REQUEST for the offer is out.
    case requesting(offer: DHCPMessage)
    /// Granted; whether another host has the address is being looked at (RFC 5227).
    case probing(DHCPLease, probes: Int)
    case bound(DHCPLease)
    /// REQUEST to the server, then to all servers, is out.
    case renewing(DHCPLease)
    case rebinding(DHCPLease)
    /// After a conflict or a refusal: a pause.
    case pausing
  }

  enum Action: Equatable {
    /// To all, from 0.0.0.0.
    case broadcast(DHCPMessage)
    /// To one server, from the leased address.
    case unicast(DHCPMessage, to: IPAddress)
    /// An ARP request for the address that nobody owns yet.
    case probe(IPAddress)
    /// Tells neighbours the new owner of the address.
    case announce(IPAddress)
    case assign(DHCPLease)
    /// The lease is over; `reason` is for the log.
    case withdraw(reason: String)
    case note(String)
  }

  private var state = State.pausing
  private let hardware: MACAddress
  private var transaction: UInt32
  private var attempts = 0
  private var startedMilliseconds: UInt64 = 0
  /// When the lease was asked for: its times count from there (section 4.4.1).
  private var requestedMilliseconds: UInt64 = 0
  private var times = Times()
  /// When `expire` has something to do.
  private(set) var deadlineMilliseconds: UInt64

  /// Moments of a lease, in milliseconds of the stack's clock; nil for never.
  private struct Times {
    var renewal: UInt64?
    var rebinding: UInt64?
    var end: UInt64?
  }

  private static let probeCount = 3
  private static let probeMilliseconds: UInt64 = 500
  private static let pauseMilliseconds: UInt64 = 10_000  // section 3.1, point 5
  private static let requestLimit = 4
  private static let retryFloorMilliseconds: UInt64 = 60_000  // section 4.4.5

  init(hardware: MACAddress, nowMilliseconds: UInt64) {
    self.hardware = hardware
    transaction = .random(in: .min ... .max)
    startedMilliseconds = nowMilliseconds
    deadlineMilliseconds = nowMilliseconds
  }

  /// The lease that may be used now.
  var lease: DHCPLease? {
    switch state {
    case .bound(let lease), .renewing(let lease), .rebinding(let lease): lease
    case .selecting, .requesting, .probing, .pausing: nil
    }
  }

  /// The address under examination.
  var probed: IPAddress? {
    if case .probing(let lease, _) = state { return lease.address.address }
    return nil
  }

  // MARK: Time

  /// 4, 8, 16, 32, 64 seconds, each give or take one (section 4.1).
  private func backoff() -> UInt64 {
    (4000 << UInt64(min(attempts, 4))) - 1000 + UInt64.random(in: 0...2000)
  }

  mutating func expire(nowMilliseconds now: UInt64) -> [Action] {
    guard now >= deadlineMilliseconds else { return [] }
    switch state {
    case .pausing: return discover(now)
    case .selecting:
      attempts += 1
      return sendDiscover(now)
    case .requesting(let offer):
      attempts += 1
      return attempts < Self.requestLimit ? sendRequest(offer, now) : discover(now)
    case .probing(let lease, let probes):
      guard probes < Self.probeCount else { return bind(lease) }
      state = .probing(lease, probes: probes + 1)
      deadlineMilliseconds = now + Self.probeMilliseconds
      return [.probe(lease.address.address)]
    case .bound(let lease), .renewing(let lease), .rebinding(let lease): return keep(lease, now)
    }
  }

  private mutating func discover(_ now: UInt64) -> [Action] {
    state = .selecting
    attempts = 0
    transaction &+= 1
    startedMilliseconds = now
    return sendDiscover(now)
  }

  private mutating func sendDiscover(_ now: UInt64) -> [Action] {
    deadlineMilliseconds = now + backoff()
    return [.broadcast(message(.discover, now))]
  }

  private mutating func sendRequest(_ offer: DHCPMessage, _ now: UInt64) -> [Action] {
    deadlineMilliseconds = now + backoff()
    requestedMilliseconds = now
    var request = message(.request, now)
    request.options[DHCPMessage.Option.requestedAddress] = offer.yours.network
    request.options[DHCPMessage.Option.server] = offer.options[DHCPMessage.Option.server]
    return [.broadcast(request)]
  }

  /// Renews, rebinds or gives up, as the time has come (section 4.4.5).
  private mutating func keep(_ lease: DHCPLease, _ now: UInt64) -> [Action] {
    if let end = times.end, now >= end {
      return [.withdraw(reason: "the lease of \(lease.address) ran out")] + discover(now)
    }
    var request = message(.request, now)
    request.client = lease.address.address
    if let rebinding = times.rebinding, now >= rebinding {
      state = .rebinding(lease)
      schedule(until: times.end, now)
      requestedMilliseconds = now
      return [.broadcast(request)]
    }
    guard let renewal = times.renewal, now >= renewal else {
      deadlineMilliseconds = times.renewal ?? .max
      return []
    }
    state = .renewing(lease)
    schedule(until: times.rebinding, now)
    requestedMilliseconds = now
    return [.unicast(request, to: lease.server)]
  }

  /// The next attempt: after half of what is left, a minute at least, and at `limit` in any case.
  private mutating func schedule(until limit: UInt64?, _ now: UInt64) {
    guard let limit else { return deadlineMilliseconds = now + Self.retryFloorMilliseconds }
    let left = limit > now ? limit - now : 0
    deadlineMilliseconds = min(limit, now + max(left / 2, Self.retryFloorMilliseconds))
  }

  // MARK: Messages

  private func message(_ kind: DHCPMessage.Kind, _ now: UInt64) -> DHCPMessage {
    typealias Option = DHCPMessage.Option
    var message = DHCPMessage(kind, transaction: transaction, hardware: hardware)
    message.seconds = UInt16(clamping: (now - startedMilliseconds) / 1000)
    message.options[Option.clientIdentifier] = [1] + hardware.bytes
    guard kind == .discover || kind == .request else { return message }
    message.options[Option.maximumBytes] = [5, 0xdc]  // 1500
    message.options[Option.parameters] = [
      Option.subnetMask, Option.classlessRoutes, Option.routers, Option.nameServers, Option.domain, Option.searchList,
      Option.leaseSeconds, Option.renewalSeconds, Option.rebindingSeconds,
    ]
    return message
  }

  /// Takes a message of a server.
  mutating func receive(_ message: DHCPMessage, nowMilliseconds now: UInt64) -> [Action] {
    guard message.transaction == transaction, message.hardware == hardware else { return [] }
    switch (state, message.kind) {
    case (.selecting, .offer):
      guard message.address(DHCPMessage.Option.server) != nil, lease(from: message) != nil else { return [] }
      state = .requesting(offer: message)
      attempts = 0
      return sendRequest(message, now)
    case (.requesting, .acknowledge):
      guard let lease = lease(from: message) else { return [] }
      setTimes(message, lease)
      state = .probing(lease, probes: 1)
      deadlineMilliseconds = now + Self.probeMilliseconds
      return [.probe(lease.address.address)]
    case (.renewing(let former), .acknowledge), (.rebinding(let former), .acknowledge):
      guard let lease = lease(from: message) else { return [] }
      setTimes(message, lease)
      state = .bound(lease)
      deadlineMilliseconds = times.renewal ?? .max
      return lease == former ? [] : [.assign(lease)]
    case (.requesting(let offer), .refuse):
      state = .pausing
      deadlineMilliseconds = now + 1000
      return [.note("the DHCP server refuses \(offer.yours)")]
    case (.renewing(let lease), .refuse), (.rebinding(let lease), .refuse):
      state = .pausing
      deadlineMilliseconds = now
      return [.withdraw(reason: "the DHCP server takes \(lease.address) back")]
    default: return []
    }
  }

  private mutating func bind(_ lease: DHCPLease) -> [Action] {
    state = .bound(lease)
    deadlineMilliseconds = times.renewal ?? .max
    return [.announce(lease.address.address), .assign(lease)]
  }

  /// Another host has the probed address (section 3.1, point 5; RFC 5227 section 2.1.1).
  mutating func conflict(nowMilliseconds now: UInt64) -> [Action] {
    guard case .probing(let lease, _) = state else { return [] }
    var decline = message(.decline, now)
    decline.options[DHCPMessage.Option.requestedAddress] = lease.address.address.network
    decline.options[DHCPMessage.Option.server] = lease.server.network
    state = .pausing
    deadlineMilliseconds = now + Self.pauseMilliseconds
    return [.broadcast(decline), .note("another host has \(lease.address.address); it is declined")]
  }

  /// Gives the lease back at the end.
  func release(nowMilliseconds now: UInt64) -> [Action] {
    guard let lease else { return [] }
    var message = message(.release, now)
    message.client = lease.address.address
    message.options[DHCPMessage.Option.server] = lease.server.network
    return [.unicast(message, to: lease.server)]
  }

  private func lease(from message: DHCPMessage) -> DHCPLease? {
    let address = message.yours
    guard !address.isAny, !address.isMulticast, !address.isLoopback, !address.isLimitedBroadcast else { return nil }
    // Without a mask, that of the class (RFC 950): A, B or C by the first bits.
    let first = address.high >> 56
    let bits = message.prefixBits ?? (first < 128 ? 8 : first < 192 ? 16 : 24)
    let seconds = message.number(DHCPMessage.Option.leaseSeconds)
    return DHCPLease(
      address: InterfaceAddress(address: address, prefixBits: bits), routes: message.routes,
      nameServers: message.addresses(DHCPMessage.Option.nameServers), domains: message.domains,
      server: message.address(DHCPMessage.Option.server) ?? lease?.server ?? .anyV4,
      seconds: seconds == .max ? nil : seconds ?? 3600)
  }

  /// T1 and T2 are half and seven eighths of the lease unless the server says otherwise (section 4.4.5).
  private mutating func setTimes(_ message: DHCPMessage, _ lease: DHCPLease) {
    guard let seconds = lease.seconds.map(UInt64.init) else { return times = Times() }
    let rebinding = message.number(DHCPMessage.Option.rebindingSeconds).map(UInt64.init) ?? seconds * 7 / 8
    let renewal = message.number(DHCPMessage.Option.renewalSeconds).map(UInt64.init) ?? seconds / 2
    times.end = requestedMilliseconds + seconds * 1000
    times.rebinding = requestedMilliseconds + min(rebinding, seconds) * 1000
    times.renewal = requestedMilliseconds + min(renewal, rebinding, seconds) * 1000
  }
}
