import Glibc
import LwipGlue
@testable import NetcondCore
import Slab
import Testing

/// One socket of a script: where it is bound, and with what options.
private struct Place {
  let address: String
  var v6Socket: Bool?
  var v6Only = false
  var reusesAddress = false
  var reusesPort = false
  var peer: String?

  func binding(_ index: Int) -> DatagramTable.Binding {
    let ip = IPAddress(address)!
    return DatagramTable.Binding(
      socket: key(index), address: ip, isV6Socket: v6Socket ?? ip.isV6, isV6Only: v6Only,
      reusesAddress: reusesAddress, reusesPort: reusesPort,
      peer: peer.map { Endpoint(address: IPAddress($0)!, port: 7) })
  }
}

private func key(_ index: Int) -> SlabKey { SlabKey(index: UInt32(index), generation: 1) }

private func at(_ address: String, _ port: UInt16) -> Endpoint { Endpoint(address: IPAddress(address)!, port: port) }

/// Which sockets could be bound to port 5000, in order.
private func bound(_ places: [Place], _ space: DatagramTable.Space = .udp) -> (DatagramTable, [Bool]) {
  var table = DatagramTable(space)
  let results = places.enumerated().map { table.bind($1.binding($0), port: 5000) }
  return (table, results)
}

@Suite struct DatagramTableTests {
  @Test("an address and port are one socket's, unless all of them share it in the same way")
  func conflicts() {
    func second(_ one: Place, _ two: Place) -> Bool { bound([one, two]).1[1] }
    #expect(!second(Place(address: "0.0.0.0"), Place(address: "10.0.0.1")))
    #expect(second(Place(address: "10.0.0.1"), Place(address: "127.0.0.1")))
    #expect(!second(Place(address: "0.0.0.0", reusesAddress: true), Place(address: "0.0.0.0")))
    #expect(second(Place(address: "0.0.0.0", reusesAddress: true), Place(address: "0.0.0.0", reusesAddress: true)))
    #expect(second(Place(address: "0.0.0.0", reusesPort: true), Place(address: "0.0.0.0", reusesPort: true)))
    #expect(!second(Place(address: "0.0.0.0", reusesPort: true), Place(address: "0.0.0.0", reusesAddress: true)))
    #expect(!second(Place(address: "::"), Place(address: "0.0.0.0")))
    #expect(second(Place(address: "::", v6Only: true), Place(address: "0.0.0.0")))
    #expect(!second(Place(address: "::"), Place(address: "127.0.0.1", v6Socket: true)))
  }

  @Test("an identifier of ICMP is one socket's whatever its address")
  func identifiers() {
    #expect(bound([Place(address: "10.0.0.1"), Place(address: "127.0.0.1")], .identifiers).1 == [true, false])
  }

  @Test("the socket with the most in common gets a datagram; of equals the last one bound")
  func best() {
    let places = [
      Place(address: "::", reusesAddress: true), Place(address: "0.0.0.0", reusesAddress: true),
      Place(address: "10.0.0.1", reusesAddress: true),
      Place(address: "10.0.0.1", reusesAddress: true, peer: "10.0.0.9"),
    ]
    var (table, results) = bound(places)
    #expect(results == [true, true, true, true])
    func receiver(_ from: String, _ to: String) -> SlabKey? {
      table.find(source: at(from, 7), destination: at(to, 5000))
    }
    #expect(receiver("10.0.0.9", "10.0.0.1") == key(3))
    #expect(receiver("10.0.0.8", "10.0.0.1") == key(2))
    #expect(receiver("10.0.0.8", "10.0.0.2") == key(1))
    #expect(receiver("fd00::8", "fd00::1") == key(0))
    #expect(table.find(source: at("10.0.0.9", 7), destination: at("10.0.0.1", 5001)) == nil)
    let isBound = table.bind(Place(address: "10.0.0.1", reusesAddress: true).binding(4), port: 5000)
    #expect(isBound)
    #expect(receiver("10.0.0.8", "10.0.0.1") == key(4))
    table.release(key(4), port: 5000)
    #expect(receiver("10.0.0.8", "10.0.0.1") == key(2))
    table.update(key(3), port: 5000) { $0.peer = at("10.0.0.8", 7) }
    #expect(receiver("10.0.0.8", "10.0.0.1") == key(3))
    #expect(receiver("10.0.0.9", "10.0.0.1") == key(2))
  }

  @Test("V6ONLY hears no IPv4; a socket of IPv4 alone is no receiver of IPv6")
  func families() {
    let (table, _) = bound([Place(address: "::", v6Only: true)])
    #expect(table.find(source: at("10.0.0.9", 7), destination: at("10.0.0.1", 5000)) == nil)
    let (four, _) = bound([Place(address: "0.0.0.0", v6Socket: true)])
    #expect(four.find(source: at("fd00::9", 7), destination: at("fd00::1", 5000)) == nil)
    #expect(four.find(source: at("10.0.0.9", 7), destination: at("10.0.0.1", 5000)) == key(0))
  }

  @Test("SO_REUSEPORT spreads senders over the group, and keeps each with one socket")
  func spread() {
    let (table, _) = bound((0..<4).map { _ in Place(address: "0.0.0.0", reusesPort: true) })
    var counts: [SlabKey: Int] = [:]
    for port in UInt16(1000)..<1400 {
      let first = table.find(source: at("10.0.0.9", port), destination: at("10.0.0.1", 5000))
      #expect(first == table.find(source: at("10.0.0.9", port), destination: at("10.0.0.1", 5000)))
      counts[first!, default: 0] += 1
    }
    #expect(counts.count == 4)
    #expect(counts.values.allSatisfy { $0 > 40 }, "\(counts)")
  }

  @Test("a group's datagram goes to all that match")
  func groups() {
    let (table, _) = bound([
      Place(address: "0.0.0.0", reusesAddress: true), Place(address: "239.0.0.1", reusesAddress: true),
      Place(address: "10.0.0.1", reusesAddress: true), Place(address: "0.0.0.0", reusesAddress: true, peer: "10.0.0.8"),
    ])
    #expect(table.findAll(source: at("10.0.0.9", 7), destination: at("239.0.0.1", 5000)) == [key(0), key(1)])
    #expect(table.findAll(source: at("10.0.0.8", 7), destination: at("239.0.0.2", 5000)) == [key(0), key(3)])
  }

  @Test("ephemeral ports are free ones of Linux's range, and all of them are had")
  func ephemeral() {
    var table = DatagramTable(.udp)
    var ports: Set<UInt16> = []
    for index in 0..<28_232 {
      guard let port = table.bindEphemeral(Place(address: "0.0.0.0").binding(index)) else { break }
      ports.insert(port)
    }
    #expect(ports == Set(32_768...60_999))
    let oneMore = table.bindEphemeral(Place(address: "0.0.0.0").binding(30_000))
    #expect(oneMore == nil)
  }
}
