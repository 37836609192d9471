@testable import LwipGlue
import Testing

@Suite struct ActivityTests {
  @Test func `who moves much within a period counts, in it and the next, once`() {
    var activity = Activity()
    var shares = [Activity.Share](repeating: Activity.Share(), count: 3)
    #expect(activity.count == 1, "nobody: a share is all")
    for _ in 0..<10 {
      activity.moved(4096, received: true, &shares[0], nowMilliseconds: 1000)
      activity.moved(100_000, received: true, &shares[1], nowMilliseconds: 1000)
      activity.moved(100, received: true, &shares[2], nowMilliseconds: 1000)
    }
    #expect(activity.count == 2)
    #expect(activity.receivers == 2)
    #expect(activity.senders == 0)
    activity.moved(100, received: true, &shares[2], nowMilliseconds: 1016)
    #expect(activity.count == 2, "the last period's")
    activity.moved(100, received: true, &shares[2], nowMilliseconds: 1032)
    #expect(activity.count == 1)
    activity.moved(1_000_000, received: true, &shares[0], nowMilliseconds: 90_000)
    #expect(activity.count == 1)
  }
}

@Suite struct PathTimeTests {
  private let address = IPAddress("10.0.0.1")!

  @Test func `the least round trip of a minute counts`() {
    var times = PathTimes()
    #expect(times.least(to: address, nowMilliseconds: 0) == .max)
    times.note(700, to: address, nowMilliseconds: 1000)
    times.note(50, to: address, nowMilliseconds: 2000)
    times.note(900, to: address, nowMilliseconds: 3000)
    #expect(times.least(to: address, nowMilliseconds: 61_000) == 50)
    #expect(times.least(to: address, nowMilliseconds: 62_000) == .max, "routes change")
    times.note(900, to: address, nowMilliseconds: 62_000)
    #expect(times.least(to: address, nowMilliseconds: 62_000) == 900)
  }

  @Test func `an address that shares a slot with another is never told the other's`() {
    var times = PathTimes()
    for last in 0...255 {
      for third in 0...3 {
        times.note(10, to: IPAddress("10.0.\(third).\(last)")!, nowMilliseconds: 1)
      }
    }
    #expect(times.least(to: IPAddress("10.1.0.0")!, nowMilliseconds: 1) == .max)
  }
}

extension StackTests {
  @Suite struct Windows {
    @Test func `what is taken from the owner at once is whole segments`() throws {
      try World.with { world in
        let (client, _) = try world.connected()
        let (limit, wire) = (64 * 1024, 1460)
        #expect(world.stack.chunkBytes(client.key, upTo: limit) % wire == 0)
        client.send(pattern(2_000_000))
        world.run(seconds: 1)
        let later = world.stack.chunkBytes(client.key, upTo: limit)
        #expect(later % wire == 0)
        #expect(later > 48 * 1024 && later <= limit, "a super-segment, once the windows allow it")
      }
    }

    @Test func `what has more behind it waits until it fills a segment, through acknowledgements`() throws {
      try World.with { world in
        world.wire.delayNanoseconds = 100_000
        let (client, server) = try world.connected()
        client.send(pattern(8_000_000))
        #expect(world.run(seconds: 10) { server.received.count == 8_000_000 })
        // In each half of a round trip as much as the daemon takes in a turn, which is no whole number of segments.
        client.announcesMore = true
        world.wire.isCapturing = true
        let turn = 4 * 65_536
        for _ in 0..<16 {
          client.send(pattern(turn))
          world.run(seconds: 0.0001)
        }
        #expect(client.isSent)
        let sizes = world.wire.takeCaptured().filter { $0.origin == 0 && $0.payloadBytes > 0 }.map(\.payloadBytes)
        #expect(sizes.count >= 40)
        #expect(sizes.allSatisfy { $0 > 60_000 }, "\(sizes)")
        world.stack.flush(client.key)
        #expect(world.run(seconds: 1) { server.received.count == 8_000_000 + 16 * turn })
        #expect(difference(Array(server.received.suffix(turn)), from: pattern(turn)) == nil)
      }
    }

    @Test(arguments: [(0, 0.4...0.6), (150_000, 0.9...1.1)])
    func `a peer that is near may send less before it is read`(delay: UInt64, mebibytes: ClosedRange<Double>) throws {
      try World.with { world in
        world.wire.delayNanoseconds = delay
        let (client, server) = try world.connected()
        server.reads = false
        let bytes = pattern(3_000_000)
        client.send(bytes, end: true)
        world.run(seconds: 1)
        #expect(mebibytes.contains(Double(world.stack.receivedBytes(server.key)) / 1_048_576))
        server.reads = true
        #expect(world.run(seconds: 60) { server.isEnded })
        #expect(difference(server.received, from: bytes) == nil)
      }
    }

    @Test func `many connections at once share the windows that one has alone, and all of their bytes arrive`() throws {
      try World.with { world in
        let count = 40
        let service = try world.listen(1)
        let clients = try (0..<count).map { _ in try world.connect(0, to: world.hosts[1].address(), port: 80) }
        #expect(world.run(seconds: 10) { service.accepted.count == count })
        let bytes = pattern(600_000)
        for client in clients { client.send(bytes, end: true) }
        for server in service.accepted { server.reads = false }
        world.run(seconds: 1)
        #expect(world.stack.activity.count >= count / 2)
        let waiting = service.accepted.map { world.stack.receivedBytes($0.key) }
        #expect((waiting.max() ?? 0) <= 1_100_000)
        for server in service.accepted { server.reads = true }
        #expect(world.run(seconds: 60) { service.accepted.allSatisfy { $0.isEnded } })
        for server in service.accepted { #expect(difference(server.received, from: bytes) == nil) }
      }
    }
  }
}
