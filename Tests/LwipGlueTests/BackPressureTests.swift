import Frames
import Glibc
@testable import LwipGlue
import Testing

extension StackTests {
  @Suite struct BackPressure {
    @Test(arguments: Wire.Style.allCases) func `a reader that does not read stops the sender, in bounded memory`(
      style: Wire.Style
    ) throws {
      try World.with(style: style) { world in
        let (client, server) = try world.connected()
        server.reads = false
        let bytes = pattern(8_000_000)
        client.send(bytes, end: true)
        world.run(seconds: 300)
        let space = world.stack.sendSpace(client.key)
        let waiting = world.stack.receivedBytes(server.key)
        #expect(space < Stack.receiveSpaceBytes)
        #expect(waiting <= 1_200_000)
        #expect(waiting >= 500_000)
        #expect(world.memory.usedCount <= 1024 * 1024 / ChunkMemory.chunkBytes + 2)
        #expect(world.frames.liveCount < 4000)
        let sent = client.sentBytes
        world.run(seconds: 600)
        #expect(client.sentBytes == sent, "nothing more is taken")
        #expect(!client.isOver, "the peer answers the probes of a closed window")
        server.reads = true
        #expect(world.run(seconds: 120) { server.isEnded })
        #expect(difference(server.received, from: bytes) == nil)
      }
    }

    /// Linux drops a segment that begins behind a closed window, and with it the news of the sender's own.
    @Test func `where neither end reads, acknowledgements stay inside the other's window`() throws {
      try World.with { world in
        let (client, server) = try world.connected()
        for peer in [client, server] { peer.reads = false }
        let bytes = pattern(8_000_000)
        client.send(bytes, end: true)
        server.send(bytes, end: true)
        // Linux does not take a probe's byte, lwIP does: so none of the client's arrive.
        world.wire.swallows = { $0.origin == 0 && $0.payloadBytes == 1 }
        world.run(seconds: 60)
        world.wire.isCapturing = true
        world.run(seconds: 120)
        world.wire.swallows = { _ in false }
        var edges: [Int: UInt32] = [:]
        var count = 0
        for frame in world.wire.takeCaptured() where frame.isTCP {
          if frame.payloadBytes == 0, let edge = edges[1 - frame.origin] {
            count += 1
            #expect(Int32(bitPattern: frame.sequence &- edge) <= 0, "\(frame.sequence &- edge) bytes beyond")
          }
          edges[frame.origin] = frame.acknowledged &+ UInt32(frame.window) << 7  // TCP_RCV_SCALE
        }
        #expect(count > 10, "both ends probe, and answer probes")
        for peer in [client, server] { peer.reads = true }
        #expect(world.run(seconds: 120) { server.isEnded && client.isEnded })
        #expect(difference(server.received, from: bytes) == nil)
        #expect(difference(client.received, from: bytes) == nil)
      }
    }

    @Test func `a connection without progress does not hold up another`() throws {
      try World.with { world in
        let service = try world.listen(1)
        service.reads = false
        let stuck = try world.connect(0, to: world.hosts[1].address())
        stuck.send(pattern(4_000_000))
        world.run(seconds: 10)
        service.reads = true
        let other = try world.connect(0, to: world.hosts[1].address())
        other.send(pattern(1_000_000), end: true)
        #expect(world.run(seconds: 10) { service.accepted.last?.isEnded == true })
        #expect(difference(service.accepted.last?.received ?? [], from: pattern(1_000_000)) == nil)
        #expect(!stuck.isSent)
      }
    }

    @Test func `tiny segments do not pin the frames they came in`() throws {
      try World.with { world in
        let (client, server) = try world.connected()
        server.reads = false
        world.stack.setNoDelay(client.key, true)
        for number in 0..<500 {
          client.send([UInt8(truncatingIfNeeded: number)])
          world.run(seconds: 0.0003)
        }
        world.run(seconds: 5)
        #expect(world.stack.receivedBytes(server.key) == 500)
        #expect(world.wire.lentBuffers == 0)
        server.reads = true
        #expect(server.received == (0..<500).map { UInt8(truncatingIfNeeded: $0) })
      }
    }

    @Test func `a partly read stream goes on where it was left`() throws {
      try World.with { world in
        let (client, server) = try world.connected()
        server.reads = false
        let bytes = pattern(100_000)
        client.send(bytes)
        world.run(seconds: 1)
        var taken: [UInt8] = []
        withUnsafeTemporaryAllocation(of: iovec.self, capacity: 3) { vectors in
          vectors.initialize(repeating: iovec())
          while world.stack.receivedBytes(server.key) > 0 {
            let (count, available) = world.stack.gather(server.key, into: vectors)
            guard count > 0, available > 0 else {
              Issue.record("nothing to gather of what is waiting")
              return
            }
            let step = min(available, 777)
            var left = step
            for vector in vectors.prefix(count) where left > 0 {
              let length = min(left, vector.iov_len)
              taken += UnsafeRawBufferPointer(start: vector.iov_base, count: length)
              left -= length
            }
            world.stack.consume(server.key, bytes: step)
          }
        }
        #expect(difference(taken, from: bytes) == nil)
      }
    }

    @Test func `Nagle's algorithm holds small writes back, TCP_NODELAY does not`() throws {
      try World.with { world in
        let (client, server) = try world.connected()
        world.wire.delayNanoseconds = 10_000_000
        world.wire.isCapturing = true
        for _ in 0..<10 { client.send("x") }
        world.run(seconds: 0.001)
        #expect(world.wire.takeCaptured().filter { $0.payloadBytes > 0 }.map(\.payloadBytes) == [1])
        #expect(world.run(seconds: 2) { server.received.count == 10 })
        world.stack.setNoDelay(client.key, true)
        _ = world.wire.takeCaptured()
        for _ in 0..<10 { client.send("x") }
        #expect(world.wire.takeCaptured().filter { $0.payloadBytes > 0 }.count == 10)
      }
    }
  }

  @Suite struct ZeroCopy {
    @Test func `a buffer is released once, after its bytes were acknowledged`() throws {
      try World.with { world in
        let (client, server) = try world.connected()
        world.wire.swallows = { $0.origin == 1 }  // no acknowledgement gets through
        let base = world.memory.take()
        base.copyMemory(from: pattern(60_000), byteCount: 60_000)
        #expect(world.stack.write(client.key, base, count: 60_000, mayHold: true) == 60_000)
        world.memory.release(holding: base)
        world.run(seconds: 3)
        #expect(server.received.count > 0)
        #expect(world.memory.references(to: base) > 0)
        world.wire.swallows = { _ in false }
        #expect(world.run(seconds: 60) { server.received.count == 60_000 && world.memory.usedCount == 0 })
        #expect(difference(server.received, from: pattern(60_000)) == nil)
        #expect(world.memory.retainCount + 1 == world.memory.releaseCount)
      }
    }

    @Test func `an abort gives the buffer back at once, and only once`() throws {
      try World.with { world in
        let (client, server) = try world.connected()
        world.wire.swallows = { $0.origin == 1 }
        let base = world.memory.take()
        _ = world.stack.write(client.key, base, count: 60_000, mayHold: true)
        #expect(world.memory.references(to: base) >= 2)
        client.abort()
        world.medium.clear()
        #expect(world.memory.references(to: base) == 1)
        world.memory.release(holding: base)
        world.run(seconds: 30)
        #expect(world.memory.retainCount + 1 == world.memory.releaseCount)
        _ = server
      }
    }

    @Test func `a reset by the peer gives the buffer back`() throws {
      try World.with { world in
        let (client, server) = try world.connected()
        let base = world.memory.take()
        server.abort()
        _ = world.stack.write(client.key, base, count: 60_000, mayHold: true)
        world.memory.release(holding: base)
        #expect(world.run(seconds: 5) { client.isOver })
        #expect(client.error == ECONNRESET)
        #expect(world.memory.usedCount == 0)
      }
    }

    @Test(arguments: [(4096, true), (60_000, false)])
    func `what is copied leaves the buffer free at once`(count: Int, mayHold: Bool) throws {
      try World.with { world in
        let (client, server) = try world.connected()
        let base = world.memory.take()
        base.copyMemory(from: pattern(count), byteCount: count)
        #expect(world.stack.write(client.key, base, count: count, mayHold: mayHold) == count)
        #expect(world.memory.references(to: base) == 1)
        base.initializeMemory(as: UInt8.self, repeating: 0xee, count: count)
        world.memory.release(holding: base)
        #expect(world.run(seconds: 5) { server.received.count == count })
        #expect(difference(server.received, from: pattern(count)) == nil)
      }
    }

    @Test func `a write that is taken in part holds what was taken`() throws {
      try World.with { world in
        let (client, server) = try world.connected()
        server.reads = false
        let bytes = pattern(3_000_000)
        client.send(bytes, end: true)
        world.run(seconds: 60)
        #expect(!client.isSent)
        server.reads = true
        #expect(world.run(seconds: 60) { server.isEnded && world.memory.usedCount == 0 })
        #expect(difference(server.received, from: bytes) == nil)
      }
    }
  }
}
