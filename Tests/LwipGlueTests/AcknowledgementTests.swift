@testable import LwipGlue
import Testing

extension StackTests {
  /// Acknowledgements of bulk (Stack+Acknowledgements.swift), as the sender's side of the wire sees them.
  @Suite struct Acknowledgements {
    private struct Outcome {
      /// Frames with payload, and acknowledgements without, once the transfer had become bulk.
      var data = 0
      var acknowledgements = 0
      var seconds = 0.0
    }

    private static let count = 8_000_000

    private func transfer(_ world: World, sendLimit: Int? = nil) throws -> Outcome {
      var options = ConnectionOptions()
      options.sendLimit = sendLimit
      let service = try world.listen(1)
      let client = try world.connect(0, to: world.hosts[1].address(), port: 80, options: options)
      #expect(world.run(seconds: 10) { client.isEstablished && service.accepted.count == 1 })
      let server = try #require(service.accepted.first)
      let bytes = pattern(Self.count)
      client.send(bytes, end: true)
      #expect(world.run(seconds: 60) { server.received.count >= Self.count / 4 })
      world.wire.isCapturing = true
      let start = world.now
      #expect(world.run(seconds: 60) { server.isEnded })
      var outcome = Outcome(seconds: Double(world.now - start) / 1e9)
      for frame in world.wire.takeCaptured() where frame.isTCP {
        if frame.origin == 0, frame.payloadBytes > 0 { outcome.data += 1 }
        if frame.origin == 1, frame.payloadBytes == 0 { outcome.acknowledgements += 1 }
      }
      #expect(difference(server.received, from: bytes) == nil)
      return outcome
    }

    @Test func `of bulk on a short path there is one for every second segment no more`() throws {
      try World.with { world in
        // Less than half the window is under way, as where the reader keeps up.
        let outcome = try transfer(world, sendLimit: 400 * 1024)
        #expect(outcome.acknowledgements <= Self.count * 3 / 4 / (80 * 1024))
        #expect(outcome.acknowledgements * 3 < outcome.data * 2)
      }
    }

    @Test func `on a long path every second segment has one`() throws {
      try World.with { world in
        world.wire.delayNanoseconds = 5_000_000
        let outcome = try transfer(world)
        #expect(outcome.acknowledgements * 2 + 2 >= outcome.data)
      }
    }

    @Test func `what comes in single segments has one for every second`() throws {
      try World.with(style: .card) { world in
        let (client, server) = try world.connected()
        let bytes = pattern(Self.count)
        client.send(bytes, end: true)
        world.wire.isCapturing = true
        #expect(world.run(seconds: 60) { server.isEnded })
        #expect(difference(server.received, from: bytes) == nil)
        let acknowledgements = world.wire.takeCaptured().filter { $0.origin == 1 && $0.payloadBytes == 0 }
        #expect(acknowledgements.count >= Self.count / (2 * 1460))
      }
    }

    @Test func `a sender that waits for it is not kept waiting each time`() throws {
      try World.with { world in
        // 64 KiB in each round trip of 0.2 ms: 18 ms for what is measured, and 110 with a millisecond for each.
        let outcome = try transfer(world, sendLimit: 64 * 1024)
        #expect(outcome.seconds < 0.04)
      }
    }

    @Test func `what comes out of order is acknowledged at once`() throws {
      try World.with { world in
        let (client, server) = try world.connected()
        let bytes = pattern(Self.count)
        client.send(bytes, end: true)
        #expect(world.run(seconds: 60) { server.received.count >= Self.count / 2 })
        var isLost = false
        world.wire.swallows = { frame in
          guard !isLost, frame.origin == 0, frame.payloadBytes > 1000 else { return false }
          isLost = true
          return true
        }
        #expect(world.run(seconds: 60) { isLost })
        let lost = world.now
        world.wire.isCapturing = true
        #expect(world.run(seconds: 60) { server.isEnded })
        #expect(difference(server.received, from: bytes) == nil)
        let answers = world.wire.takeCaptured().filter { $0.origin == 1 && $0.tcpHeaderBytes > 20 }
        let first = try #require(answers.first, "nothing was told of what had come behind the gap")
        #expect(first.time - lost <= 300_000)
      }
    }
  }

  /// Acknowledgements that the app's answer carries where much is to do.
  @Suite struct AwaitedAnswers {
    private static let longest: UInt64 = 12_000_000  // 10 ms, and the timer's grain

    /// Segments that one host has sent since the last look, but for SYNs.
    private func segments(_ world: World, from origin: Int) -> [WireFrame] {
      world.wire.takeCaptured().filter { $0.isTCP && $0.origin == origin && !$0.flags.contains(.syn) }
    }

    private func connect(_ world: World) throws -> (client: Peer, service: Service) {
      world.wire.isCapturing = true
      let service = try world.listen(1)
      let client = try world.connect(0, to: world.hosts[1].address(), port: 80)
      #expect(world.run(seconds: 1) { client.isEstablished })
      return (client, service)
    }

    @Test func `a request acknowledges the handshake`() throws {
      try World.with { world in
        world.stack.isBusy = true
        let (client, service) = try connect(world)
        #expect(segments(world, from: 0).isEmpty)
        #expect(service.accepted.isEmpty)
        client.send("request")
        #expect(world.run(seconds: 1) { service.accepted.first?.text == "request" })
        let sent = segments(world, from: 0)
        #expect(sent.count == 1)
        #expect(sent.first?.payloadBytes == 7)
      }
    }

    @Test func `a handshake that no request follows is acknowledged soon`() throws {
      try World.with { world in
        world.stack.isBusy = true
        let (client, service) = try connect(world)
        let start = world.now
        #expect(world.run(seconds: 1) { service.accepted.count == 1 })
        #expect(world.now - start <= Self.longest)
        service.accepted[0].send("greeting")  // by the server that speaks first
        #expect(world.run(seconds: 1) { client.text == "greeting" })
      }
    }

    @Test func `who has little to do acknowledges at once`() throws {
      try World.with { world in
        let (client, service) = try connect(world)
        #expect(segments(world, from: 0).count == 1)
        client.send("request")
        #expect(world.run(seconds: 1) { service.accepted.first?.text == "request" })
        _ = segments(world, from: 1)
        client.send("", end: true)
        #expect(world.run(seconds: 1) { service.accepted[0].isEnded })
        let start = world.now
        #expect(world.run(seconds: 1) { !segments(world, from: 1).isEmpty })
        #expect(world.now - start < 1_000_000)
      }
    }

    @Test func `where servers speak first nothing is held for long`() throws {
      try World.with { world in
        world.stack.isBusy = true
        let service = try world.listen(1)
        var slow = 0
        for number in 1...100 {
          let client = try world.connect(0, to: world.hosts[1].address(), port: 80)
          let start = world.now
          #expect(world.run(seconds: 1) { service.accepted.count == number })
          if world.now - start > 2_000_000 { slow += 1 }
          service.accepted[number - 1].send("greeting")
          #expect(world.run(seconds: 1) { client.text == "greeting" })
        }
        #expect((1...20).contains(slow))
      }
    }

    @Test func `our end acknowledges the peer's`() throws {
      try World.with { world in
        let (client, server) = try world.connected()
        client.send("request")
        #expect(world.run(seconds: 1) { server.text == "request" })
        server.send("answer")
        #expect(world.run(seconds: 1) { client.text == "answer" })
        world.run(seconds: 1)  // what is acknowledged late is
        world.stack.isBusy = true
        world.wire.isCapturing = true
        client.send("", end: true)
        #expect(world.run(seconds: 1) { server.isEnded })
        #expect(segments(world, from: 1).isEmpty)
        server.close()
        #expect(world.run(seconds: 1) { client.isEnded })
        let sent = segments(world, from: 1)
        #expect(sent.count == 1)
        #expect(sent.first?.flags.contains(.fin) == true)
      }
    }

    @Test func `an end that ours does not follow is acknowledged soon`() throws {
      try World.with { world in
        let (client, server) = try world.connected()
        world.stack.isBusy = true
        client.send("", end: true)
        #expect(world.run(seconds: 1) { server.isEnded })
        world.wire.isCapturing = true
        let start = world.now
        var first: [WireFrame] = []
        #expect(
          world.run(seconds: 1) {
            first = segments(world, from: 1); return !first.isEmpty
          })
        #expect(world.now - start <= Self.longest)
        #expect(first.first?.payloadBytes == 0)
        server.send("late answer")
        #expect(world.run(seconds: 1) { client.text == "late answer" })
      }
    }

    @Test func `an end behind bytes that are not acknowledged is acknowledged at once`() throws {
      try World.with { world in
        let (client, server) = try world.connected()
        world.stack.isBusy = true
        client.send("bytes")
        #expect(world.run(seconds: 1) { server.text == "bytes" })
        world.wire.isCapturing = true
        client.send("", end: true)
        #expect(world.run(seconds: 1) { server.isEnded })
        #expect(segments(world, from: 1).count == 1)
      }
    }
  }
}
