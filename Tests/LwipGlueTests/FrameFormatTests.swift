import Frames
@testable import LwipGlue
import Testing

extension StackTests {
  @Suite struct FrameFormat {
    private static let both = [["10.0.0.1/24", "fd00::1/64"], ["10.0.0.2/24", "fd00::2/64"]]

    private func frames(
      to target: String, style: Wire.Style, mtu: Int = 1500, alter: @escaping (inout WireFrame) -> Void = { _ in }
    ) throws -> [WireFrame] {
      try World.with(Self.both, style: style, mtu: mtu) { world in
        world.run(seconds: 5)
        world.wire.isCapturing = true
        world.wire.alters = alter
        let (client, server) = try world.connected(address: IPAddress(target)!)
        client.send(pattern(1_500_000), end: true)
        server.send(pattern(100_000), end: true)
        #expect(world.run(seconds: 60) { server.isEnded && client.isEnded })
        #expect(difference(server.received, from: pattern(1_500_000)) == nil)
        return world.wire.takeCaptured().filter(\.isTCP)
      }
    }

    @Test(arguments: [("10.0.0.2", 40), ("fd00::2", 60)], [1280, 1500, 9000])
    func `a SYN announces what the MTU allows`(target: (String, Int), mtu: Int) throws {
      let syns = try frames(to: target.0, style: .bridge, mtu: mtu).filter { $0.flags.contains(.syn) }
      #expect(syns.count == 2)
      #expect(syns.map(\.announcedMSS) == [mtu - target.1, mtu - target.1])
    }

    @Test(arguments: ["10.0.0.2", "fd00::2"]) func `on a link that finishes sums, each is rightly begun`(
      target: String
    ) throws {
      for frame in try frames(to: target, style: .bridge) {
        #expect(frame.offload.flags == OffloadHeader.needsChecksum)
        #expect(Int(frame.offload.checksumStart) == frame.tcp)
        #expect(frame.offload.checksumOffset == 16)
        #expect(frame.u16(frame.tcp + 16) == frame.fold(frame.pseudoSum))
        #expect(frame.finished().tcpSum == 0xffff)
        #expect(frame.bytes.count == 14 + frame.ipPacketBytes)
        if frame.isV4 { #expect(frame.ipHeaderSum == 0xffff) }
      }
    }

    @Test(arguments: [
      ("10.0.0.2", OffloadHeader.segmentationTCPv4, 1460), ("fd00::2", OffloadHeader.segmentationTCPv6, 1440),
    ])
    func `bulk goes out in super-segments of the wire's segments`(target: String, kind: UInt8, wire: Int) throws {
      let data = try frames(to: target, style: .bridge).filter { $0.payloadBytes > 0 }
      #expect(data.map(\.payloadBytes).max() ?? 0 > 40_000)
      for frame in data {
        #expect((frame.offload.segmentation == kind) == (frame.payloadBytes > wire))
        guard frame.offload.segmentation != 0 else { continue }
        #expect(Int(frame.offload.segmentBytes) == wire)
        #expect(Int(frame.offload.headerBytes) == frame.tcp + frame.tcpHeaderBytes)
        #expect(frame.ipPacketBytes <= 65_535)
      }
    }

    @Test func `a peer's smaller MSS is what segments are cut by`() throws {
      let sent = try frames(to: "10.0.0.2", style: .bridge) { frame in
        guard frame.isTCP, frame.flags == [.syn, .ack] else { return }
        #expect(frame.u8(frame.tcp + 20) == 2)
        frame.set16(frame.tcp + 22, 536)
      }
      let data = sent.filter { $0.origin == 0 && $0.payloadBytes > 0 }
      #expect(!data.isEmpty)
      #expect(data.allSatisfy { $0.payloadBytes <= 536 || $0.offload.segmentBytes == 536 })
      #expect(data.contains { $0.payloadBytes > 10 * 536 })
    }

    @Test func `a peer's larger MSS does not make frames beyond the own MTU`() throws {
      let sent = try frames(to: "10.0.0.2", style: .bridge) { frame in
        guard frame.isTCP, frame.flags == [.syn, .ack] else { return }
        frame.set16(frame.tcp + 22, 8960)
      }
      let data = sent.filter { $0.origin == 0 && $0.payloadBytes > 1460 }
      #expect(!data.isEmpty)
      #expect(data.allSatisfy { $0.offload.segmentBytes == 1460 })
    }

    @Test(arguments: ["10.0.0.2", "fd00::2"]) func `on a plain link all is complete and fits`(target: String) throws {
      for frame in try frames(to: target, style: .plain) {
        #expect(frame.offload == OffloadHeader())
        #expect(frame.tcpSum == 0xffff)
        #expect(frame.bytes.count <= 1514)
      }
    }

    @Test func `windows are scaled where both ends can`() throws {
      let sent = try frames(to: "10.0.0.2", style: .bridge)
      let windows = sent.filter { !$0.flags.contains(.syn) }.map { Int($0.window) << 7 }
      #expect(windows.max() ?? 0 > 900_000)
    }

    @Test func `initial sequence numbers of one port pair differ widely`() throws {
      try World.with { world in
        world.wire.isCapturing = true
        for port in UInt16(40_000)..<40_020 { _ = try world.connect(0, to: world.hosts[1].address(), localPort: port) }
        world.run(seconds: 0.5)
        let numbers = Set(world.wire.takeCaptured().filter { $0.isTCP && $0.flags == .syn }.map { $0.sequence >> 16 })
        #expect(numbers.count >= 18)
      }
    }
  }
}
