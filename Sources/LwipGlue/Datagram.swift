public import Glibc

/// What a datagram is to the stack: UDP, or an ICMP message of a socket of its own (Linux's "ping sockets", icmp(7)).
public enum DatagramProtocol: UInt8, Sendable {
  case icmp = 1
  case udp = 17
  case icmpV6 = 58
}

/// How a datagram leaves: the socket's options, or what a control message of the app asked for.
public struct DatagramOptions: Sendable, Equatable {
  /// IP_TTL, IP_MULTICAST_TTL, IPV6_UNICAST_HOPS, IPV6_MULTICAST_HOPS.
  public var hopLimit: UInt8 = 64
  /// IP_TOS, IPV6_TCLASS.
  public var trafficClass: UInt8 = 0
  /// Larger than the MTU is EMSGSIZE instead of fragments (IP_MTU_DISCOVER, IPV6_DONTFRAG).
  public var dontFragment = false
  /// Multicast is delivered to this interface's own members too (IP_MULTICAST_LOOP).
  public var loopsMulticast = true
  public init() {}
}

/// A datagram that arrived, valid while `DatagramReceiver.receive` runs.
public struct ReceivedDatagram {
  public let kind: DatagramProtocol
  /// `NetworkInterface.number`.
  public let interface: UInt8
  /// Port 0 for ICMP.
  public let source: Endpoint
  /// As the packet says: perhaps a group or a broadcast address. For ICMP the port is the message's identifier.
  public let destination: Endpoint
  public let hopLimit: UInt8
  public let trafficClass: UInt8
  /// UDP's payload; of ICMP the whole message with its header.
  public let payload: UnsafeMutableBufferPointer<iovec>
  public let payloadBytes: Int

  public init(
    kind: DatagramProtocol, interface: UInt8, source: Endpoint, destination: Endpoint, hopLimit: UInt8,
    trafficClass: UInt8, payload: UnsafeMutableBufferPointer<iovec>, payloadBytes: Int
  ) {
    self.kind = kind
    self.interface = interface
    self.source = source
    self.destination = destination
    self.hopLimit = hopLimit
    self.trafficClass = trafficClass
    self.payload = payload
    self.payloadBytes = payloadBytes
  }
}

/// An ICMP error, or the stack's own word, for a datagram that was sent; valid while `DatagramReceiver.fail` runs.
public struct DatagramFailure {
  public let kind: DatagramProtocol
  public let interface: UInt8
  /// The datagram's source and destination.
  public let source: Endpoint
  public let destination: Endpoint
  /// The errno that Linux makes of it (icmp_err_convert in net/ipv4/icmp.c, icmpv6_err_convert): ECONNREFUSED, EHOSTUNREACH…
  public let error: Int32
  /// Linux tells sockets without IP_RECVERR only of fatal ones.
  public let isFatal: Bool
  /// Who told, and with what message: the datagram's own source where no neighbour answered, as on Linux.
  public let teller: IPAddress?
  public let type: UInt8
  public let code: UInt8
  /// The MTU, where the datagram was too big; else 0.
  public let info: UInt32
  /// What the message carried of the datagram's payload.
  public let payload: UnsafeRawBufferPointer

  public init(
    kind: DatagramProtocol, interface: UInt8, source: Endpoint, destination: Endpoint, error: Int32, isFatal: Bool,
    teller: IPAddress?, type: UInt8, code: UInt8, info: UInt32, payload: UnsafeRawBufferPointer
  ) {
    self.kind = kind
    self.interface = interface
    self.source = source
    self.destination = destination
    self.error = error
    self.isFatal = isFatal
    self.teller = teller
    self.type = type
    self.code = code
    self.info = info
    self.payload = payload
  }
}

/// Whoever owns the datagram sockets. Called inside lwIP, where the stack must not be entered: note it, or hand it to the
/// kernel, nothing else.
public protocol DatagramReceiver: AnyObject {
  /// Takes a datagram.
  /// - Returns: false where no socket is bound to its destination; the stack then answers with port unreachable.
  func receive(_ datagram: ReceivedDatagram) -> Bool
  func fail(_ failure: DatagramFailure)
}

/// What became of datagrams, since the stack was made.
public struct DatagramCounters: Sendable, Equatable {
  /// Handed to the receiver, which took them.
  public var received: UInt64 = 0
  /// For no socket: lwIP answered with port unreachable where that is allowed, or took them itself (DHCP).
  public var unclaimed: UInt64 = 0
  /// Of those, the ones that were not answered because there were too many.
  public var unanswered: UInt64 = 0
  /// Given to a link or to the interface's own sockets.
  public var sent: UInt64 = 0
  /// Received with a wrong checksum, or over IPv6 with none.
  public var badChecksum: UInt64 = 0
  /// Too short for what their headers say.
  public var malformed: UInt64 = 0
  /// Lost for want of memory, or because the link was full.
  public var unsent: UInt64 = 0
  /// ICMP errors taken to heart, and those that quote nothing that could have been sent from here.
  public var errors: UInt64 = 0
  public var strayErrors: UInt64 = 0
  /// Neighbours that did not answer within three seconds while somebody waited for them.
  public var silentNeighbours: UInt64 = 0
}
