import Glibc
@testable import LwipGlue
import Testing

extension StackTests {
  @Suite struct Endings {
    @Test(arguments: [0, 1, 100_000]) func `the side that is shut still receives`(count: Int) throws {
      try World.with { world in
        let (client, server) = try world.connected()
        let question = pattern(count, seed: 1)
        client.send(question, end: true)
        #expect(world.run(seconds: 10) { server.isEnded })
        #expect(difference(server.received, from: question) == nil)
        #expect(!client.isEnded && !client.isOver)
        world.run(seconds: 30)
        let answer = pattern(500_000, seed: 2)
        server.send(answer, end: true)
        #expect(world.run(seconds: 10) { client.isEnded })
        #expect(difference(client.received, from: answer) == nil)
        #expect(client.error == nil && server.error == nil)
      }
    }

    /// lwIP counts an end's 2 MSL from the last segment that came.
    @Test func `an answer behind a long silence, with its end, has time to arrive on a long path`() throws {
      try World.with { world in
        let (client, server) = try world.connected()
        client.send(pattern(1), end: true)
        #expect(world.run(seconds: 10) { server.isEnded })
        world.run(seconds: 45)
        world.wire.delayNanoseconds = 400_000_000
        let answer = pattern(500_000, seed: 2)
        server.send(answer, end: true)
        #expect(world.run(seconds: 60) { client.isEnded })
        #expect(difference(client.received, from: answer) == nil)
        #expect(client.error == nil && server.error == nil)
      }
    }

    @Test(arguments: [true, false]) func `an abort is a reset at the other side`(byClient: Bool) throws {
      try World.with { world in
        let (client, server) = try world.connected()
        let (actor, witness) = byClient ? (client, server) : (server, client)
        actor.abort()
        #expect(world.run(seconds: 5) { witness.isOver })
        #expect(witness.error == ECONNRESET)
      }
    }

    @Test func `an abort in mid-transfer is a reset, and frees all memory`() throws {
      try World.with { world in
        let (client, server) = try world.connected()
        client.send(pattern(5_000_000))
        world.run(seconds: 0.002)
        #expect(world.memory.usedCount > 0)
        client.abort()
        #expect(world.run(seconds: 5) { server.isOver })
        #expect(server.error == ECONNRESET)
        world.medium.clear()
        #expect(world.memory.usedCount == 0)
      }
    }

    @Test func `what was received before a reset can still be read`() throws {
      try World.with { world in
        let (client, server) = try world.connected()
        server.reads = false
        client.send("last words")
        world.run(seconds: 1)
        client.abort()
        #expect(world.run(seconds: 5) { server.isOver })
        server.reads = true
        #expect(server.text == "last words")
      }
    }

    @Test func `bytes written before close all arrive`() throws {
      try World.with { world in
        let (client, server) = try world.connected()
        let bytes = pattern(900_000)
        client.send(bytes)
        #expect(world.run(seconds: 10) { client.isSent })
        client.close()
        #expect(world.run(seconds: 10) { server.isEnded })
        #expect(difference(server.received, from: bytes) == nil)
        server.close()
        #expect(world.run(seconds: 10) { world.stack.connectionCount == 0 })
      }
    }

    @Test func `a closed connection is gone when its bytes are acknowledged`() throws {
      try World.with { world in
        let (client, server) = try world.connected()
        client.send(pattern(60_000))
        #expect(client.isSent)
        client.close()
        #expect(world.memory.usedCount == 1)
        #expect(world.run(seconds: 10) { server.isEnded && world.memory.usedCount == 0 })
        #expect(world.stack.connectionCount == 1)  // the server's end
      }
    }

    @Test func `both ends close at once`() throws {
      try World.with { world in
        let (client, server) = try world.connected()
        client.close()
        server.close()
        world.run(seconds: 1)
        #expect(world.stack.connectionCount == 0)
      }
    }

    @Test func `a peer that vanishes in mid-transfer is a time-out`() throws {
      try World.with { world in
        let (client, _) = try world.connected()
        world.wire.swallows = { _ in true }
        client.send(pattern(100_000))
        #expect(world.run(seconds: 7200) { client.isOver })
        #expect(client.error == ETIMEDOUT)
        #expect(world.memory.usedCount == 0)
      }
    }

    @Test func `keepalive notices a peer that vanished`() throws {
      try World.with { world in
        let (client, server) = try world.connected()
        world.stack.setKeepalive(client.key, on: true, idle: 10_000, interval: 2000, count: 3)
        world.run(seconds: 60)
        #expect(!client.isOver, "the peer answered all probes")
        world.wire.swallows = { _ in true }
        #expect(world.run(seconds: 60) { client.isOver })
        #expect(client.error == ETIMEDOUT)
        #expect(!server.isOver)
      }
    }

    @Test func `stale keys are answered, not followed`() throws {
      try World.with { world in
        let (client, server) = try world.connected()
        let key = client.key
        client.abort()
        #expect(world.stack.receivedBytes(key) == 0)
        #expect(world.stack.sendSpace(key) == 0)
        #expect(world.stack.facts(of: key) == nil)
        #expect(world.stack.endpoints(of: key) == nil)
        world.stack.consume(key, bytes: 10)
        world.stack.shutdownSend(key)
        world.stack.setNoDelay(key, true)
        world.stack.close(key)
        world.stack.abort(key)
        #expect(world.run(seconds: 5) { server.isOver })
      }
    }

    @Test func `two thousand connections leave nothing behind`() throws {
      try World.with { world in
        let service = try world.listen(1)
        service.onAccept = { $0.send("welcome", end: true) }
        for round in 0..<100 {
          let clients = try (0..<20).map { _ in try world.connect(0, to: world.hosts[1].address()) }
          for client in clients { client.send("request", end: true) }
          let isDone = world.run(seconds: 10) { clients.allSatisfy { $0.isEnded && $0.text == "welcome" } }
          try #require(isDone, "round \(round)")
          for client in clients { client.close() }
          world.run(seconds: 0.01)
        }
        for server in service.accepted { server.close() }
        world.run(seconds: 1)
        #expect(service.accepted.count == 2000)
        #expect(service.accepted.allSatisfy { $0.text == "request" })
        #expect(world.stack.connectionCount == 0)
        #expect(world.memory.usedCount == 0)
      }
    }
  }
}
