import Glibc
@testable import LwipGlue
import Testing

/// What arrived at a bound port.
struct Arrival: Equatable {
  let kind: DatagramProtocol
  let interface: UInt8
  let source: Endpoint
  let destination: Endpoint
  let hopLimit: UInt8
  let trafficClass: UInt8
  let bytes: [UInt8]
}

/// An ICMP error, or the stack's own word, with a copy of its payload.
struct Failure: Equatable {
  let kind: DatagramProtocol
  let source: Endpoint
  let destination: Endpoint
  let error: Int32
  let isFatal: Bool
  let teller: IPAddress?
  let type: UInt8
  let code: UInt8
  let info: UInt32
  let bytes: [UInt8]
}

/// All datagram sockets of a world: ports that are bound on hosts, and what came to them.
final class DatagramSockets: DatagramReceiver {
  /// By interface number: bound ports, and identifiers of ICMP.
  var bound: [UInt8: Set<UInt16>] = [:]
  var arrivals: [Arrival] = []
  var failures: [Failure] = []

  func receive(_ datagram: ReceivedDatagram) -> Bool {
    guard bound[datagram.interface]?.contains(datagram.destination.port) == true else { return false }
    var bytes: [UInt8] = []
    for vector in datagram.payload {
      bytes.append(contentsOf: UnsafeRawBufferPointer(start: vector.iov_base, count: vector.iov_len))
    }
    #expect(bytes.count == datagram.payloadBytes)
    #expect(datagram.payload.count <= Stack.datagramPieceLimit)
    arrivals.append(
      Arrival(
        kind: datagram.kind, interface: datagram.interface, source: datagram.source, destination: datagram.destination,
        hopLimit: datagram.hopLimit, trafficClass: datagram.trafficClass, bytes: bytes))
    return true
  }

  func fail(_ failure: DatagramFailure) {
    failures.append(
      Failure(
        kind: failure.kind, source: failure.source, destination: failure.destination, error: failure.error,
        isFatal: failure.isFatal, teller: failure.teller, type: failure.type, code: failure.code, info: failure.info,
        bytes: Array(failure.payload)))
  }

  func takeArrivals() -> [Arrival] {
    defer { arrivals = [] }
    return arrivals
  }

  func takeFailures() -> [Failure] {
    defer { failures = [] }
    return failures
  }
}

extension World {
  /// Makes the world's datagram sockets; `ports` are bound on each host.
  func bind(_ ports: UInt16...) -> DatagramSockets {
    let sockets = DatagramSockets()
    for host in hosts { sockets.bound[host.interface.number] = Set(ports) }
    stack.datagramReceiver = sockets
    return sockets
  }

  /// Host `host` sends from port 4000 to port 5000, unless others are given.
  func send(
    _ host: Int, to address: IPAddress, port: UInt16 = 5000, from local: IPAddress? = nil, localPort: UInt16 = 4000,
    _ bytes: [UInt8], kind: DatagramProtocol = .udp, options: DatagramOptions = DatagramOptions()
  ) throws {
    let any: IPAddress = address.isV6 ? .anyV6 : .anyV4
    try bytes.withUnsafeBytes { payload in
      try stack.send(
        kind, from: hosts[host].interface, source: Endpoint(address: local ?? any, port: localPort),
        destination: Endpoint(address: address, port: port), payload: payload, options: options)
    }
  }

  /// Runs until `count` datagrams have arrived, and then a little, so that one too many is seen.
  func arrivals(_ sockets: DatagramSockets, _ count: Int, seconds: Double = 5) -> [Arrival] {
    run(seconds: seconds) { sockets.arrivals.count >= count }
    run(seconds: 0.01)
    return sockets.takeArrivals()
  }

  /// Lets duplicate address detection end, so that IPv6 addresses may be used.
  func settle() { run(seconds: 3) { hosts.allSatisfy { !$0.interface.hasTentativeAddresses } } }
}
