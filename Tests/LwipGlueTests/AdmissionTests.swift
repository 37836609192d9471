import Frames
import Glibc
@testable import LwipGlue
import Testing

extension StackTests {
  @Suite struct Admission {
    private static let stranger = MACAddress(bits: 0x0200_0000_00aa)

    private func ethernet(to destination: MACAddress, type: UInt16, _ payload: [UInt8]) -> WireFrame {
      let head = destination.bytes + Self.stranger.bytes + [UInt8(type >> 8), UInt8(truncatingIfNeeded: type)]
      return WireFrame(bytes: head + payload, origin: 99)
    }

    private func arpRequest(for target: String, from sender: String) -> WireFrame {
      let head: [UInt8] = [0, 1, 8, 0, 6, 4, 0, 1] + Self.stranger.bytes
      let payload = head + IPAddress(sender)!.octets + [0, 0, 0, 0, 0, 0] + IPAddress(target)!.octets
      return ethernet(to: MACAddress(bits: 0xffff_ffff_ffff), type: 0x0806, payload)
    }

    /// An IPv4 packet, or a fragment of one.
    private func packet(
      to mac: MACAddress, from source: String, to target: String, transport: UInt8, _ payload: [UInt8],
      fragment: UInt16 = 0
    ) -> WireFrame {
      let length = UInt16(20 + payload.count)
      let head: [UInt8] =
        [0x45, 0, UInt8(length >> 8), UInt8(truncatingIfNeeded: length), 0, 7]
        + [UInt8(fragment >> 8), UInt8(truncatingIfNeeded: fragment), 64, transport, 0, 0]
      let addresses = IPAddress(source)!.octets + IPAddress(target)!.octets
      var frame = ethernet(to: mac, type: 0x0800, head + addresses + payload)
      frame.set16(24, ~frame.ipHeaderSum)
      return frame
    }

    private func ping(_ payload: [UInt8]) -> [UInt8] {
      var frame = WireFrame(bytes: [8, 0, 0, 0, 0x12, 0x34, 0, 1] + payload)
      frame.set16(2, ~frame.fold(frame.sum(from: 0, to: frame.bytes.count)))
      return frame.bytes
    }

    @Test func `each of several IPv4 addresses answers ARP, a foreign one does not`() throws {
      let addresses = ["10.0.0.2/24", "10.0.0.3/24", "192.168.7.1/16"]
      try World.with([["10.0.0.1/24"], addresses]) { world in
        world.wire.isCapturing = true
        for target in ["10.0.0.2", "10.0.0.3", "192.168.7.1", "10.0.0.4"] {
          world.wire.hand(arpRequest(for: target, from: "10.0.0.77"), to: world.hosts[1])
        }
        let replies = world.wire.takeCaptured().filter { $0.isARP && $0.u16(20) == 2 }
        #expect(replies.map { Array($0.bytes[28..<32]) } == [[10, 0, 0, 2], [10, 0, 0, 3], [192, 168, 7, 1]])
        #expect(replies.allSatisfy { Array($0.bytes[22..<28]) == world.hosts[1].interface.mac.bytes })
      }
    }

    @Test func `each of several IPv4 addresses serves TCP, at the same time`() throws {
      try World.with([["10.0.0.1/24", "192.168.1.1/16"], ["10.0.0.2/24", "10.0.0.3/24", "192.168.7.1/16"]]) { world in
        let service = try world.listen(1)
        let targets = ["10.0.0.2", "10.0.0.3", "192.168.7.1"]
        let clients = try targets.map { try world.connect(0, to: IPAddress($0)!) }
        for (client, target) in zip(clients, targets) { client.send(Array(target.utf8) + pattern(300_000), end: true) }
        #expect(world.run(seconds: 30) { service.accepted.count == 3 && service.accepted.allSatisfy { $0.isEnded } })
        for server in service.accepted {
          let own = world.stack.endpoints(of: server.key)?.local.address.description ?? ""
          #expect(difference(server.received, from: Array(own.utf8) + pattern(300_000)) == nil)
        }
        #expect(world.stack.endpoints(of: clients[2].key)?.local.address == IPAddress("192.168.1.1"))
      }
    }

    @Test func `a listener on one address does not serve the others`() throws {
      try World.with([["10.0.0.1/24"], ["10.0.0.2/24", "10.0.0.3/24"]]) { world in
        _ = try world.listen(1, on: IPAddress("10.0.0.3")!)
        let wrong = try world.connect(0, to: IPAddress("10.0.0.2")!)
        let right = try world.connect(0, to: IPAddress("10.0.0.3")!)
        #expect(world.run(seconds: 5) { wrong.isOver && right.isEstablished })
        #expect(wrong.error == ECONNREFUSED)
      }
    }

    @Test func `frames for other hosts are counted and go no further`() throws {
      try World.with { world in
        let host = world.hosts[1]
        let before = host.interface.counters
        world.wire.isCapturing = true
        let mac = host.interface.mac
        let frames = [
          packet(to: MACAddress(bits: 0x0200_0000_0bad), from: "10.0.0.1", to: "10.0.0.2", transport: 1, ping([])),
          packet(to: mac, from: "10.0.0.1", to: "10.0.0.9", transport: 1, ping([])),
          packet(to: mac, from: "10.0.0.1", to: "127.0.0.1", transport: 1, ping([])),
          packet(to: mac, from: "10.0.0.2", to: "10.0.0.2", transport: 1, ping([])),
          packet(to: mac, from: "127.0.0.1", to: "10.0.0.2", transport: 1, ping([])),
          ethernet(to: mac, type: 0x88b5, [1, 2, 3]),
        ]
        for frame in frames { world.wire.hand(frame, to: host) }
        world.run(seconds: 0.01)
        #expect(host.interface.counters.notForUs - before.notForUs == UInt64(frames.count))
        #expect(world.wire.takeCaptured().filter { $0.origin == 1 && !$0.isV6 }.isEmpty)
      }
    }

    @Test func `frames too short for their headers are counted as malformed`() throws {
      try World.with { world in
        let host = world.hosts[1]
        let mac = host.interface.mac
        for length in [0, 1, 13] { world.wire.hand(WireFrame(bytes: Array(repeating: 0xff, count: length)), to: host) }
        world.wire.hand(ethernet(to: mac, type: 0x0800, Array(repeating: 0x45, count: 19)), to: host)
        world.wire.hand(ethernet(to: mac, type: 0x0806, Array(repeating: 0, count: 27)), to: host)
        world.wire.hand(ethernet(to: mac, type: 0x86dd, Array(repeating: 0x60, count: 39)), to: host)
        #expect(host.interface.counters.malformed == 6)
      }
    }

    @Test(arguments: [0, 56, 1472, 5000]) func `a ping is answered, in fragments where it must be`(count: Int) throws {
      try World.with { world in
        let host = world.hosts[1]
        world.wire.isCapturing = true
        world.wire.hand(arpRequest(for: "10.0.0.2", from: "10.0.0.77"), to: host)
        _ = world.wire.takeCaptured()
        let message = ping(pattern(count))
        for start in stride(from: 0, to: message.count, by: 1480) {
          let end = min(start + 1480, message.count)
          let more: UInt16 = end < message.count ? 0x2000 : 0
          let fragment = UInt16(start / 8) | more
          let piece = Array(message[start..<end])
          let frame = packet(
            to: host.interface.mac, from: "10.0.0.77", to: "10.0.0.2", transport: 1, piece, fragment: fragment)
          world.wire.hand(frame, to: host)
        }
        let answers = world.wire.takeCaptured().filter { $0.isV4 && $0.transport == 1 }
        #expect(
          answers.allSatisfy { $0.bytes.count <= 1514 && $0.ipHeaderSum == 0xffff && $0.destination == Self.stranger })
        let reply = answers.sorted { $0.u16(20) & 0x1fff < $1.u16(20) & 0x1fff }.flatMap {
          $0.bytes[34..<(14 + $0.ipPacketBytes)]
        }
        #expect(reply.first == 0)
        #expect(Array(reply.dropFirst(4)) == Array(message.dropFirst(4)))
      }
    }
  }
}

extension IPAddress {
  fileprivate var octets: [UInt8] { withBytes { Array($0) } }
}
