import Frames
import Testing

@testable import LwipGlue

private func address(_ text: String) -> IPAddress { IPAddress(text)! }
private typealias Option = DHCPMessage.Option

@Suite struct DHCPMessageTests {
  private static let hardware = MACAddress(bits: 0x0200_0000_0001)

  /// A reply's bytes: the fields of RFC 2131 section 2, and options as they stand.
  static func reply(
    yours: String = "10.0.0.50", transaction: UInt32 = 7, options: [UInt8], file: [UInt8] = [], name: [UInt8] = []
  ) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: 236)
    bytes.replaceSubrange(0..<3, with: [2, 1, 6])
    bytes.replaceSubrange(4..<8, with: (0..<4).map { UInt8(truncatingIfNeeded: transaction >> UInt32(24 - 8 * $0)) })
    bytes.replaceSubrange(16..<20, with: address(yours).network)
    bytes.replaceSubrange(28..<34, with: hardware.bytes)
    bytes.replaceSubrange(44..<(44 + name.count), with: name)
    bytes.replaceSubrange(108..<(108 + file.count), with: file)
    return bytes + [99, 130, 83, 99] + options
  }

  @Test func `a request reads back as what it was, in 300 bytes at least`() throws {
    var message = DHCPMessage(.request, transaction: 0x0102_0304, hardware: Self.hardware)
    message.client = address("10.0.0.50")
    message.options[Option.requestedAddress] = [10, 0, 0, 50]
    var bytes = message.encoded
    #expect(bytes.count == 300)
    #expect(Array(bytes[0..<8]) == [1, 1, 6, 0, 1, 2, 3, 4])
    #expect(Array(bytes[12..<16]) == [10, 0, 0, 50])
    #expect(DHCPMessage(reply: bytes) == nil, "a client's message is none of a server")
    bytes[0] = 2
    let read = try #require(DHCPMessage(reply: bytes))
    #expect(read.kind == .request && read.transaction == 0x0102_0304 && read.hardware == Self.hardware)
    #expect(read.options[Option.requestedAddress] == [10, 0, 0, 50])
  }

  @Test func `options are long, doubled, and overflow into other fields`() throws {
    let bytes = Self.reply(
      options: [53, 1, 5, 0, 0, 6, 4, 10, 0, 0, 1, 6, 4, 10, 0, 0, 2, 52, 1, 3, 255, 1, 4, 9, 9, 9, 9],
      file: [3, 4, 10, 0, 0, 9, 255], name: [1, 4, 255, 255, 240, 0, 255])
    let message = try #require(DHCPMessage(reply: bytes))
    #expect(message.kind == .acknowledge)
    #expect(message.addresses(Option.nameServers).map(\.description) == ["10.0.0.1", "10.0.0.2"])
    #expect(message.routes == [.byDefault(via: address("10.0.0.9"))])
    #expect(message.prefixBits == 20)
  }

  @Test func `classless routes take the place of the router`() throws {
    let routes: [UInt8] = [121, 21, 0, 10, 0, 0, 1, 16, 172, 20, 10, 0, 0, 2, 32, 192, 0, 2, 9, 0, 0, 0, 0]
    let message = try #require(DHCPMessage(reply: Self.reply(options: [53, 1, 5, 3, 4, 10, 0, 0, 9] + routes + [255])))
    #expect(
      message.routes.map(\.description) == ["0.0.0.0/0 via 10.0.0.1", "172.20.0.0/16 via 10.0.0.2", "192.0.2.9/32"])
  }

  @Test func `a search list is compressed; without one there is the domain`() throws {
    let list: [UInt8] =
      [119, 15, 3] + Array("lab".utf8) + [2] + Array("ex".utf8) + [0, 1] + Array("b".utf8) + [0xc0, 4, 0, 0]
    let message = try #require(DHCPMessage(reply: Self.reply(options: [53, 1, 5, 15, 2, 97, 0] + list + [255])))
    #expect(message.domains == ["lab.ex", "b.ex"])
    let plain = try #require(DHCPMessage(reply: Self.reply(options: [53, 1, 5, 15, 4] + Array("a.b.".utf8) + [255])))
    #expect(plain.domains == ["a.b"])
    #expect(DomainNames.read([0xc0, 0, 0]) == [], "a loop of pointers ends")
    #expect(DomainNames.read([3, 97, 10, 98, 0]) == [], "no line breaks in names")
  }

  @Test func `what is cut anywhere is read without a crash`() {
    let whole = Self.reply(options: [
      53, 1, 5, 1, 4, 255, 255, 255, 0, 121, 8, 24, 10, 0, 0, 10, 0, 0, 1, 119, 3, 1, 97, 0, 255,
    ])
    for count in 0...whole.count {
      let message = DHCPMessage(reply: Array(whole.prefix(count)))
      _ = message?.routes
      _ = message?.domains
    }
  }
}

@Suite struct DHCPClientTests {
  private static let hardware = MACAddress(bits: 0x0200_0000_0001)

  /// A client, and a server's hand.
  private final class Exchange {
    var client = DHCPClient(hardware: hardware, nowMilliseconds: 0)
    var now: UInt64 = 0
    var transaction: UInt32 = 0

    /// Goes on to the client's next deadline.
    func wait() -> [DHCPClient.Action] {
      now = max(now, client.deadlineMilliseconds)
      return note(client.expire(nowMilliseconds: now))
    }

    private func note(_ actions: [DHCPClient.Action]) -> [DHCPClient.Action] {
      for action in actions { if case .broadcast(let message) = action { transaction = message.transaction } }
      return actions
    }

    func answer(_ kind: UInt8, _ options: [UInt8] = [], yours: String = "10.0.0.50") -> [DHCPClient.Action] {
      let bytes = DHCPMessageTests.reply(
        yours: yours, transaction: transaction,
        options: [53, 1, kind, 54, 4, 10, 0, 0, 1, 1, 4, 255, 255, 255, 0] + options + [255])
      return note(client.receive(DHCPMessage(reply: bytes)!, nowMilliseconds: now))
    }

    /// Comes to a lease of 1,000 seconds.
    func bind() -> [DHCPClient.Action] {
      _ = wait()
      _ = answer(2)
      _ = answer(5, [51, 4, 0, 0, 3, 232, 3, 4, 10, 0, 0, 1, 6, 4, 10, 0, 0, 53])
      var actions: [DHCPClient.Action] = []
      for _ in 0..<3 { actions = wait() }
      return actions
    }
  }

  private func kinds(_ actions: [DHCPClient.Action]) -> [DHCPMessage.Kind] {
    actions.compactMap {
      switch $0 {
      case .broadcast(let message): message.kind
      case .unicast(let message, _): message.kind
      default: nil
      }
    }
  }

  @Test func `discover, offer, request, acknowledge, three probes, and the lease`() throws {
    let exchange = Exchange()
    #expect(kinds(exchange.wait()) == [.discover])
    let request = exchange.answer(2)
    guard case .broadcast(let message) = request.first else { throw Failure() }
    #expect(message.kind == .request && message.options[Option.requestedAddress] == [10, 0, 0, 50])
    #expect(message.options[Option.server] == [10, 0, 0, 1])
    #expect(exchange.answer(5, [51, 4, 0, 0, 3, 232]) == [.probe(address("10.0.0.50"))])
    #expect(exchange.client.lease == nil, "not before the probes are over")
    #expect(exchange.wait() == [.probe(address("10.0.0.50"))])
    #expect(exchange.wait() == [.probe(address("10.0.0.50"))])
    let bound = exchange.wait()
    #expect(bound.first == .announce(address("10.0.0.50")))
    let lease = try #require(exchange.client.lease)
    #expect(bound.last == .assign(lease))
    #expect(lease.address.description == "10.0.0.50/24" && lease.seconds == 1000)
  }

  private struct Failure: Error {}

  @Test func `nobody answers: it asks again, more and more seldom, and never gives up`() {
    let exchange = Exchange()
    var last: UInt64 = 0
    var pauses: [UInt64] = []
    for _ in 0..<8 {
      #expect(kinds(exchange.wait()) == [.discover])
      pauses.append(exchange.now - last)
      last = exchange.now
    }
    for (pause, seconds) in zip(pauses.dropFirst(), [4, 8, 16, 32, 64, 64, 64] as [UInt64]) {
      #expect((seconds * 1000 - 1000...seconds * 1000 + 1000).contains(pause))
    }
  }

  @Test func `renews with the server at half the lease, rebinds with any later, and ends with it`() {
    let exchange = Exchange()
    _ = exchange.bind()
    let start = exchange.now
    let renewal = exchange.wait()
    guard case .unicast(let message, let server) = renewal.first else {
      Issue.record("\(renewal)")
      return
    }
    #expect(server == address("10.0.0.1") && message.client == address("10.0.0.50"))
    #expect(message.options[Option.requestedAddress] == nil && message.options[Option.server] == nil)
    #expect((490_000...501_000).contains(exchange.now - start))
    #expect(exchange.client.lease != nil)
    var kindsSeen: [String] = []
    var end: [DHCPClient.Action] = []
    while exchange.client.lease != nil, kindsSeen.count < 50 {
      end = exchange.wait()
      kindsSeen.append(end.first.map { if case .unicast = $0 { "renew" } else { "rebind" } } ?? "-")
    }
    #expect(kindsSeen.contains("renew") && kindsSeen.contains("rebind"))
    guard case .withdraw = end.first else {
      Issue.record("\(end)")
      return
    }
    #expect(kinds(end) == [.discover])
    #expect((990_000...1_001_000).contains(exchange.now - start))
  }

  @Test func `a renewal that changes nothing is no news; one that changes the servers is`() {
    let exchange = Exchange()
    _ = exchange.bind()
    _ = exchange.wait()
    let same: [UInt8] = [51, 4, 0, 0, 3, 232, 3, 4, 10, 0, 0, 1, 6, 4, 10, 0, 0, 53]
    #expect(exchange.answer(5, same) == [])
    _ = exchange.wait()
    let other = exchange.answer(5, Array(same.dropLast()) + [54])
    #expect(other.count == 1 && exchange.client.lease?.nameServers == [address("10.0.0.54")])
  }

  @Test func `a refusal begins anew, with the address taken back`() {
    let exchange = Exchange()
    _ = exchange.bind()
    _ = exchange.wait()
    guard case .withdraw = exchange.answer(6).first else {
      Issue.record("the lease was kept")
      return
    }
    #expect(exchange.client.lease == nil)
    #expect(kinds(exchange.wait()) == [.discover])
  }

  @Test func `an address that another host has is declined, and asked for again after ten seconds`() {
    let exchange = Exchange()
    _ = exchange.wait()
    _ = exchange.answer(2)
    _ = exchange.answer(5, [51, 4, 0, 0, 3, 232])
    #expect(exchange.client.probed == address("10.0.0.50"))
    #expect(kinds(exchange.client.conflict(nowMilliseconds: exchange.now)) == [.decline])
    let before = exchange.now
    #expect(kinds(exchange.wait()) == [.discover])
    #expect(exchange.now - before == 10_000)
  }

  @Test func `answers to others are not taken`() {
    let exchange = Exchange()
    _ = exchange.wait()
    exchange.transaction &+= 1
    #expect(exchange.answer(2) == [])
    exchange.transaction &-= 1
    #expect(exchange.answer(5) == [], "no acknowledgement before an offer")
    #expect(exchange.answer(2, yours: "0.0.0.0") == [])
    #expect(exchange.answer(2, yours: "224.0.0.1") == [])
    #expect(kinds(exchange.answer(2)) == [.request])
  }

  @Test func `a lease for ever is never renewed; it is given back at the end`() {
    let exchange = Exchange()
    _ = exchange.wait()
    _ = exchange.answer(2)
    _ = exchange.answer(5, [51, 4, 255, 255, 255, 255])
    for _ in 0..<3 { _ = exchange.wait() }
    #expect(exchange.client.lease?.seconds == nil && exchange.client.deadlineMilliseconds == .max)
    #expect(kinds(exchange.client.release(nowMilliseconds: exchange.now)) == [.release])
  }
}
