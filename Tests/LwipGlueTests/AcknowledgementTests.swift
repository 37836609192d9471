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
}
