import Frames
import Glibc
@testable import LwipGlue
import Testing

extension StackTests {
  @Suite struct Handshakes {
    @Test(arguments: Wire.Style.allCases) func `two hosts connect`(style: Wire.Style) throws {
      try World.with(style: style) { world in
        let (client, server) = try world.connected()
        #expect(client.isEstablished)
        let (outer, inner) = (world.stack.endpoints(of: client.key), world.stack.endpoints(of: server.key))
        #expect(outer?.remote == Endpoint(address: IPAddress("10.0.0.2")!, port: 80))
        #expect(outer?.local.address == IPAddress("10.0.0.1"))
        #expect(inner?.local == outer?.remote)
        #expect(inner?.remote == outer?.local)
        #expect((32_768...60_999).contains(outer?.local.port ?? 0))
        #expect(world.stack.facts(of: client.key)?.state == 1)  // ESTABLISHED
        #expect(world.stack.facts(of: client.key)?.segmentBytes == 1460)
      }
    }

    @Test func `the wire sees ARP, SYN, SYN and ACK, ACK`() throws {
      try World.with { world in
        world.wire.isCapturing = true
        _ = try world.connected()
        world.run(seconds: 0.01)
        let frames = world.wire.takeCaptured().filter { $0.isARP || $0.isTCP }
        #expect(frames.map { $0.isARP ? "ARP" : $0.flags.description } == ["ARP", "ARP", "SYN", "SYN|ACK", "ACK"])
        #expect(frames.map(\.origin) == [0, 1, 0, 1, 0])
        #expect(frames[0].destination == MACAddress(bits: 0xffff_ffff_ffff))
        #expect(frames[3].acknowledged == frames[2].sequence &+ 1)
        #expect(frames[4].acknowledged == frames[3].sequence &+ 1)
      }
    }

    @Test func `a closed port refuses`() throws {
      try World.with { world in
        let client = try world.connect(0, to: world.hosts[1].address(), port: 81)
        #expect(world.run(seconds: 5) { client.isOver })
        #expect(client.error == ECONNREFUSED)
        #expect(!client.isEstablished)
      }
    }

    @Test func `a listener that is closed refuses from then on`() throws {
      try World.with { world in
        let service = try world.listen(1)
        world.stack.closeListener(service.key)
        let client = try world.connect(0, to: world.hosts[1].address())
        #expect(world.run(seconds: 5) { client.isOver })
        #expect(client.error == ECONNREFUSED)
      }
    }

    /// Linux asks for its hardware address three times, once a second.
    @Test(arguments: ["10.0.0.99", "fd00::99"]) func `an absent host is unreachable after three seconds`(
      target: String
    ) throws {
      try World.with([["10.0.0.1/24", "fd00::1/64"], ["10.0.0.2/24"]]) { world in
        world.settle()
        let start = world.now
        let client = try world.connect(0, to: IPAddress(target)!)
        #expect(world.run(seconds: 300) { client.isOver })
        #expect(client.error == EHOSTUNREACH)
        #expect((2_900_000_000...3_100_000_000).contains(world.now - start))
      }
    }

    @Test func `a host that takes SYNs and never answers times out`() throws {
      try World.with { world in
        world.wire.swallows = { $0.isTCP }
        world.wire.isCapturing = true
        let start = world.now
        let client = try world.connect(0, to: world.hosts[1].address())
        #expect(world.run(seconds: 300) { client.isOver })
        #expect(client.error == ETIMEDOUT)
        // Linux gives up after 127 s; RFC 9293 section 3.8.3 asks for at least 3 minutes, or what the app sets.
        #expect(world.now - start > 20_000_000_000)
        #expect(world.wire.takeCaptured().filter { $0.isTCP && $0.flags == .syn }.count >= 4)
      }
    }

    @Test func `a lost SYN is sent again after a second`() throws {
      try World.with { world in
        var swallowed = 0
        world.wire.swallows = {
          guard $0.isTCP, swallowed == 0 else { return false }
          swallowed += 1
          return true
        }
        let start = world.now
        let (client, _) = try world.connected()
        #expect(client.isEstablished)
        #expect(swallowed == 1)
        #expect((0.9...1.6).contains(Double(world.now - start) / 1e9))  // RFC 6298 section 2.1
      }
    }

    @Test func `without a route there is no connection`() throws {
      try World.with { world in
        #expect(throws: StackError(ENETUNREACH)) { _ = try world.connect(0, to: IPAddress("192.168.5.5")!) }
        #expect(throws: StackError(ENETUNREACH)) { _ = try world.connect(0, to: IPAddress("fd00::5")!) }
        #expect(world.stack.connectionCount == 0)
      }
    }

    @Test func `the same four addresses and ports serve one connection only`() throws {
      try World.with { world in
        _ = try world.listen(1)
        let target = world.hosts[1].address()
        let first = try world.connect(0, to: target, localPort: 40_000)
        #expect(world.run { first.isEstablished })
        #expect(throws: StackError(EADDRNOTAVAIL)) { _ = try world.connect(0, to: target, localPort: 40_000) }
      }
    }

    @Test func `a reserved port is not chosen`() throws {
      try World.with { world in
        world.stack.reservedPorts = { _, port in port != 45_678 }
        let client = try world.connect(0, to: world.hosts[1].address())
        #expect(world.stack.endpoints(of: client.key)?.local.port == 45_678)
        #expect(throws: StackError(EADDRNOTAVAIL)) { _ = try world.connect(0, to: world.hosts[1].address()) }
      }
    }

    @Test func `many connections at once all reach their listener, each with its own bytes`() throws {
      try World.with { world in
        let service = try world.listen(1)
        let clients = try (0..<200).map { _ in try world.connect(0, to: world.hosts[1].address()) }
        for (number, client) in clients.enumerated() { client.send("client \(number)", end: true) }
        #expect(world.run(seconds: 30) { service.accepted.count == 200 && service.accepted.allSatisfy { $0.isEnded } })
        #expect(Set(service.accepted.map(\.text)) == Set((0..<200).map { "client \($0)" }))
        #expect(clients.allSatisfy { $0.error == nil })
      }
    }

    /// Frames of both handshakes and the first bytes arrive in one turn: whoever is accepted must be told of first.
    @Test func `an accepted connection is announced before its own news`() throws {
      try World.with { world in
        let service = try world.listen(1)
        let first = try world.connect(0, to: world.hosts[1].address())
        let second = try world.connect(0, to: world.hosts[1].address())
        first.send("one")
        second.send("two")
        #expect(world.run(seconds: 5) { service.accepted.map(\.text).sorted() == ["one", "two"] })
      }
    }

    @Test func `a full backlog drops SYNs, and the client comes in later`() throws {
      try World.with { world in
        let service = try world.listen(1)
        var hasRoom = false
        var askedFor: Set<UInt64> = []
        world.stack.admits = {
          askedFor.insert($0)
          return hasRoom
        }
        let client = try world.connect(0, to: world.hosts[1].address())
        world.run(seconds: 2)
        #expect(!client.isEstablished)
        #expect(!client.isOver)
        #expect(askedFor == Set(world.services.keys))
        hasRoom = true
        #expect(world.run(seconds: 20) { client.isEstablished && service.accepted.count == 1 })
      }
    }

    @Test func `closing a listener resets what was not accepted`() throws {
      try World.with { world in
        let service = try world.listen(1)
        let client = try world.connect(0, to: world.hosts[1].address())
        while !client.isEstablished || world.medium.nextDue != nil {  // all but the listener's event
          world.stack.setTime(nanoseconds: world.now)
          world.medium.deliver(now: world.medium.nextDue ?? world.now)
          if !client.isEstablished, case .connection(_, _, let events)? = world.stack.nextEvent() {
            client.handle(events)
          }
        }
        world.stack.closeListener(service.key)
        #expect(world.run(seconds: 5) { client.isOver })
        #expect(client.error == ECONNRESET)
      }
    }

    @Test func `a host talks to its own address, and over loopback`() throws {
      try World.with { world in
        let service = try world.listen(0)
        for address in [world.hosts[0].address(), .loopbackV4] {
          let client = try world.connect(0, to: address)
          client.send("to myself", end: true)
          #expect(world.run(seconds: 5) { service.accepted.last?.isEnded == true && client.isEstablished })
          #expect(service.accepted.last?.text == "to myself")
        }
        #expect(service.accepted.count == 2)
      }
    }

    @Test func `a network's listener does not hear another network's host`() throws {
      try World.with([["10.0.0.1/24"], ["10.0.0.2/24"], ["10.0.0.3/24"]]) { world in
        _ = try world.listen(2)
        let client = try world.connect(0, to: world.hosts[1].address())
        #expect(world.run(seconds: 5) { client.isOver })
        #expect(client.error == ECONNREFUSED)
      }
    }
  }
}
