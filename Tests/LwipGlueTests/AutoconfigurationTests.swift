import Frames
import Testing

@testable import LwipGlue

private func address(_ text: String) -> IPAddress { IPAddress(text)! }
private func seconds(_ value: UInt32) -> [UInt8] {
  (0..<4).map { UInt8(truncatingIfNeeded: value >> UInt32(24 - 8 * $0)) }
}

/// A router advertisement's bytes (RFC 4861 section 4.2).
private func advertisement(lifetime: UInt16 = 1800, _ options: [UInt8]...) -> [UInt8] {
  [134, 0, 0, 0, 64, 0, UInt8(lifetime >> 8), UInt8(lifetime & 0xff)] + [UInt8](repeating: 0, count: 8)
    + options.flatMap(\.self)
}

private func prefix(_ text: String, bits: UInt8 = 64, flags: UInt8 = 0xc0, valid: UInt32, preferred: UInt32) -> [UInt8]
{
  [3, 4, bits, flags] + seconds(valid) + seconds(preferred) + seconds(0) + address(text).network
}

private let router = address("fe80::99")

@Suite struct AutoconfigurationTests {
  private func configured(_ messages: [UInt8]..., now: UInt64 = 1000) throws -> Autoconfiguration {
    var configuration = Autoconfiguration(interfaceIdentifier: 0x00ff_fe00_0001, nowMilliseconds: 0)
    for message in messages {
      let read = try #require(RouterAdvertisement(message, from: router))
      configuration.receive(read, nowMilliseconds: now)
    }
    return configuration
  }

  @Test func `an advertisement gives an address, a router, names and the MTU`() throws {
    let names: [UInt8] = [31, 3] + [0, 0] + seconds(600) + [3] + Array("lab".utf8) + [2] + Array("ex".utf8) + [0]
    let domains = names + [UInt8](repeating: 0, count: 24 - names.count)
    let servers: [UInt8] = [25, 3, 0, 0] + seconds(600) + address("fd00::53").network
    let route: [UInt8] = [24, 2, 48, 0] + seconds(900) + Array(address("fd07::").network.prefix(8))
    let configuration = try configured(
      advertisement(
        prefix("fd01::", valid: 7200, preferred: 3600), [5, 1, 0, 0] + seconds(1400), servers, domains, route))
    #expect(configuration.addresses.map(\.description) == ["fd01::ff:fe00:1/64"])
    #expect(configuration.routes.map(\.description) == ["fd07::/48 via fe80::99", "::/0 via fe80::99"])
    #expect(configuration.nameServers == [address("fd00::53")] && configuration.domains == ["lab.ex"])
    #expect(configuration.mtu == 1400)
  }

  @Test func `flags tell whether a prefix is on the link, and whether it makes addresses`() throws {
    let configuration = try configured(
      advertisement(
        lifetime: 0, prefix("fd01::", flags: 0x40, valid: 100, preferred: 100),
        prefix("fd02::", flags: 0x80, valid: 100, preferred: 100),
        prefix("fd03::", flags: 0, valid: 100, preferred: 100),
        prefix("fd04::", bits: 48, valid: 100, preferred: 100), prefix("fe80::", valid: 100, preferred: 100),
        prefix("fd05::", valid: 100, preferred: 200)))
    #expect(configuration.addresses.map(\.description) == ["fd01::ff:fe00:1/128"])
    #expect(configuration.routes.map(\.description) == ["fd02::/64", "fd04::/48"])
  }

  @Test func `each thing ends in its time`() throws {
    var configuration = try configured(advertisement(lifetime: 50, prefix("fd01::", valid: 100, preferred: 20)))
    let own = address("fd01::ff:fe00:1")
    #expect(configuration.deprecated(nowMilliseconds: 20_000).isEmpty)
    #expect(configuration.deadlineMilliseconds(nowMilliseconds: 1000) == 21_000)
    #expect(configuration.deprecated(nowMilliseconds: 21_000) == [own])
    _ = configuration.expire(nowMilliseconds: 51_000)
    #expect(configuration.routes.isEmpty && configuration.addresses.count == 1)
    _ = configuration.expire(nowMilliseconds: 101_000)
    #expect(configuration.addresses.isEmpty)
    #expect(configuration.deadlineMilliseconds(nowMilliseconds: 101_000) == .max)
  }

  @Test func `an address cannot be ended by a word in less than two hours`() throws {
    let long = advertisement(prefix("fd01::", valid: 86_400, preferred: 86_400))
    let short = advertisement(lifetime: 0, prefix("fd01::", valid: 0, preferred: 0))
    var configuration = try configured(long, short)
    #expect(configuration.routes.isEmpty, "a router may take itself back at once")
    #expect(configuration.deprecated(nowMilliseconds: 1000).count == 1, "and its preference")
    _ = configuration.expire(nowMilliseconds: 7_200_000)
    #expect(configuration.addresses.count == 1)
    _ = configuration.expire(nowMilliseconds: 7_201_000)
    #expect(configuration.addresses.isEmpty)
  }

  @Test func `routers are asked three times, and not once one has spoken`() throws {
    var configuration = Autoconfiguration(interfaceIdentifier: 1, nowMilliseconds: 0)
    var count = 0
    for now in stride(from: UInt64(0), through: 60_000, by: 500) where configuration.expire(nowMilliseconds: now) {
      count += 1
    }
    #expect(count == 3)
    var answered = try configured(advertisement())
    let solicits = answered.expire(nowMilliseconds: 60_000)
    #expect(!solicits)
  }

  @Test func `what is malformed is no advertisement`() {
    let whole = advertisement(prefix("fd01::", valid: 100, preferred: 100), [5, 1, 0, 0] + seconds(1400))
    #expect(RouterAdvertisement(whole, from: router) != nil)
    #expect(RouterAdvertisement(whole, from: address("fd00::1")) == nil, "a router speaks from its link-local address")
    #expect(RouterAdvertisement(advertisement([3, 0]), from: router) == nil, "an option without length")
    for count in 0..<whole.count where ![16, 48].contains(count) {
      #expect(RouterAdvertisement(Array(whole.prefix(count)), from: router) == nil)
    }
  }

  @Test func `a flood of prefixes stays bounded`() throws {
    var configuration = Autoconfiguration(interfaceIdentifier: 1, nowMilliseconds: 0)
    for number in 0..<500 {
      let text = "fd\(String(number % 90 + 10)):\(String(number, radix: 16))::"
      let read = try #require(
        RouterAdvertisement(
          advertisement(prefix(text, valid: 9000, preferred: 9000)), from: address("fe80::\(number + 1)")))
      configuration.receive(read, nowMilliseconds: 1000)
    }
    #expect(configuration.addresses.count <= 4)
    #expect(configuration.routes.count <= 48)
  }
}

extension StackTests {
  @Suite struct Learning {
    /// An advertisement as a frame from a router with hardware address 02:…:99.
    private func frame(_ message: [UInt8], hopLimit: UInt8 = 255, spoilt: Bool = false) -> WireFrame {
      var message = message
      let (source, destination) = (router, IPAddress("ff02::1")!)
      let pseudo = source.network + destination.network + [0, 0, 0, UInt8(message.count), 0, 0, 0, 58]
      var sum: UInt32 = 0
      for index in stride(from: 0, to: pseudo.count + message.count, by: 2) {
        let all = pseudo + message
        sum += UInt32(all[index]) << 8 | UInt32(index + 1 < all.count ? all[index + 1] : 0)
      }
      while sum >> 16 != 0 { sum = sum & 0xffff + sum >> 16 }
      message[2] = UInt8(~sum >> 8 & 0xff)
      message[3] = UInt8(~sum & 0xff) ^ (spoilt ? 1 : 0)
      let header: [UInt8] = [0x60, 0, 0, 0, 0, UInt8(message.count), 58, hopLimit]
      let bytes =
        [0x33, 0x33, 0, 0, 0, 1, 2, 0, 0, 0, 0, 0x99, 0x86, 0xdd] + header + source.network + destination.network
        + message
      return WireFrame(bytes: bytes, offload: OffloadHeader(), origin: -1, time: 0)
    }

    @Test func `an interface learns only where it was told to, and only from sound advertisements`() throws {
      try World.with([["fd00::1/64"], ["fd00::2/64"]]) { world in
        world.run(seconds: 5)
        let learner = world.hosts[0].interface!
        var news: [String] = []
        learner.onNews = { news.append($0) }
        let message = advertisement(
          prefix("fd01::", valid: 60, preferred: 60), [5, 1, 0, 0] + seconds(1400))
        learner.beginAutoconfiguration()
        for wrong in [frame(message, hopLimit: 64), frame(message, spoilt: true)] {
          world.wire.inject(wrong)
          world.run(seconds: 1)
        }
        #expect(news.isEmpty && learner.ipv6MTU == 1500)
        world.wire.inject(frame(message))
        world.run(seconds: 5)
        let own = address("fd01::ff:fe00:1")
        #expect(learner.owns(own) && !learner.hasTentativeAddresses)
        #expect(learner.nextHop(to: address("2001:db8::1")) == router)
        #expect(learner.sourceAddress(for: address("fd01::77")) == own)
        #expect(learner.ipv6MTU == 1400)
        #expect(news.count == 1)
        let other = world.hosts[1].interface!
        #expect(other.addresses.count == 2 && other.nextHop(to: address("2001:db8::1")) == nil)
        world.run(seconds: 60)
        #expect(!learner.owns(own), "its time is over")
      }
    }
  }
}
