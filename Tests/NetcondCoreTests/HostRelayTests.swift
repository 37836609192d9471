import Glibc
import Testing
import UringLoop

@testable import NetcondCore

/// Relays on a ring of their own, each between two socketpairs: the test is the app at one end and the host at the other.
private final class Relays {
  final class One {
    let number: Int
    /// The app's end, the daemon's end of the pair, the daemon's end of the host's socket, the peer.
    var app: Int32, pair: Int32, host: Int32, peer: Int32
    var relay: HostRelay
    var outcomes: [HostRelay.Outcome] = []

    init(_ number: Int, _ ring: Ring, _ pool: BufferPool) {
      self.number = number
      var ends: [Int32] = [-1, -1]
      socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0, &ends)
      (app, pair) = (ends[0], ends[1])
      socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0, &ends)
      (host, peer) = (ends[0], ends[1])
      relay = HostRelay(ring: ring, pool: pool, pair: pair, host: host) {
        Token(kind: Daemon.Kind.host, operation: $0, owner: UInt64(number))
      }
    }

    deinit { for fd in [app, pair, host, peer] where fd >= 0 { close(fd) } }
  }

  let ring: Ring
  let pool: BufferPool
  private(set) var all: [One] = []

  init(bufferBytes: Int = 4096, buffers: Int = 16, depth: Int = 4) throws {
    ring = try Ring(entries: 64)
    pool = try BufferPool(ring: ring, group: 1, bufferBytes: bufferBytes, count: buffers, ringDepth: depth)
  }

  func add() -> One {
    let one = One(all.count, ring, pool)
    all.append(one)
    note(one, one.relay.resume())
    return one
  }

  private func note(_ one: One, _ outcome: HostRelay.Outcome) {
    if outcome != .goesOn { one.outcomes.append(outcome) }
  }

  /// Runs the loop until the condition holds, at most ten seconds; says whether it held.
  func run(until condition: () -> Bool) -> Bool {
    let deadline = monotonicNanoseconds() + 10_000_000_000
    while !condition() {
      if monotonicNanoseconds() > deadline { return false }
      turn(nanoseconds: 10_000_000)
    }
    return true
  }

  /// Runs the loop until nothing more completes at once.
  func settle() {
    var last = ring.completionCount
    repeat {
      last = ring.completionCount
      turn(nanoseconds: 20_000_000)
    } while ring.completionCount != last
  }

  private func turn(nanoseconds: UInt64) {
    ring.submitAndWait(nanoseconds: nanoseconds)
    ring.drain { completion in
      guard completion.token.kind == Daemon.Kind.host else { return }
      let one = all[Int(completion.token.owner)]
      note(one, one.relay.complete(operation: completion.token.operation, completion))
    }
    pool.replenish()
    for one in all where one.outcomes.last == .starved && !pool.isExhausted {
      one.outcomes.removeLast()
      note(one, one.relay.resume())
    }
  }
}

/// Writes without waiting; how many bytes were taken.
private func write(_ fd: Int32, _ count: Int) -> Int {
  let bytes = (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 7) }
  return max(0, send(fd, bytes, count, Int32(MSG_DONTWAIT) | Int32(MSG_NOSIGNAL)))
}

/// Writes until the socket takes no more; how many bytes were taken.
private func fill(_ fd: Int32) -> Int {
  var total = 0
  while case let count = write(fd, 4096), count > 0 { total += count }
  return total
}

/// Reads without waiting: bytes, empty at the end, or nil where there is nothing or an error (errno).
private func read(_ fd: Int32, _ capacity: Int = 65_536) -> [UInt8]? {
  var bytes = [UInt8](repeating: 0, count: capacity)
  let count = recv(fd, &bytes, capacity, Int32(MSG_DONTWAIT))
  return count < 0 ? nil : Array(bytes.prefix(count))
}

@Suite(.enabled(if: (try? Ring(entries: 2)) != nil, "io_uring is not available here"))
struct HostRelayTests {
  @Test func `bytes go both ways, and a relay at rest holds no buffer`() throws {
    let relays = try Relays()
    let one = relays.add()
    relays.settle()
    let free = relays.pool.freeCount
    #expect(write(one.app, 10_000) == 10_000)
    #expect(write(one.peer, 300) == 300)
    var (atPeer, atApp): ([UInt8], [UInt8]) = ([], [])
    #expect(
      relays.run {
        atPeer += read(one.peer) ?? []
        atApp += read(one.app) ?? []
        return atPeer.count >= 10_000 && atApp.count >= 300
      })
    #expect(atPeer == (0..<10_000).map { UInt8(truncatingIfNeeded: $0 &* 7) })
    #expect(atApp == (0..<300).map { UInt8(truncatingIfNeeded: $0 &* 7) })
    relays.settle()
    #expect(relays.pool.freeCount == free)
    #expect(one.outcomes.isEmpty)
  }

  @Test func `a half close goes through behind the bytes, and the other way goes on`() throws {
    let relays = try Relays()
    let one = relays.add()
    _ = write(one.app, 5000)
    shutdown(one.app, Int32(SHUT_WR))
    var bytes: [UInt8] = []
    #expect(
      relays.run {
        guard let piece = read(one.peer) else { return false }
        bytes += piece
        return piece.isEmpty
      })
    #expect(bytes.count == 5000)
    #expect(one.outcomes == [.appEnded])
    _ = write(one.peer, 100)
    #expect(relays.run { read(one.app)?.count == 100 })
    shutdown(one.peer, Int32(SHUT_WR))
    #expect(relays.run { read(one.app)?.isEmpty == true })
    #expect(one.outcomes == [.appEnded])
  }

  @Test func `a peer that does not read holds the app back, with one buffer`() throws {
    let relays = try Relays()
    let one = relays.add()
    relays.settle()
    let free = relays.pool.freeCount
    var sent = 0
    while case let count = fill(one.app), count > 0 {
      sent += count
      relays.settle()
    }
    #expect(relays.pool.freeCount >= free - 1)
    #expect(sent < 2 << 20)  // what the two socket buffers hold
    var got = 0
    #expect(
      relays.run {
        got += read(one.peer)?.count ?? 0
        return got == sent
      })
  }

  @Test func `stalled relays do not take the last buffers from others`() throws {
    let relays = try Relays(buffers: 16, depth: 2)
    for _ in 0..<40 {
      let stalled = relays.add()
      while fill(stalled.app) > 0 { relays.settle() }
    }
    let one = relays.add()
    #expect(write(one.app, 4096) == 4096)
    var got = 0
    #expect(
      relays.run {
        got += read(one.peer)?.count ?? 0
        return got == 4096
      })
  }

  @Test func `the app's close is told when its bytes are out; unread bytes make it a reset`() throws {
    let relays = try Relays()
    let (orderly, unread) = (relays.add(), relays.add())
    _ = write(orderly.app, 5000)
    close(orderly.app)
    orderly.app = -1
    #expect(relays.run { !orderly.outcomes.isEmpty })
    #expect(orderly.outcomes == [.ended(.inOrder)])
    var got = 0
    while let piece = read(orderly.peer), !piece.isEmpty { got += piece.count }
    #expect(got == 5000)

    _ = write(unread.peer, 10)
    relays.settle()
    close(unread.app)
    unread.app = -1
    #expect(relays.run { !unread.outcomes.isEmpty })
    #expect(unread.outcomes == [.ended(.reset)])
  }

  @Test func `a broken host connection is told once the app has all bytes before it`() throws {
    let relays = try Relays()
    let one = relays.add()
    _ = write(one.app, 10)  // unread at the peer: its close resets (unix_release_sock)
    relays.settle()
    _ = write(one.peer, 1000)
    close(one.peer)
    one.peer = -1
    #expect(relays.run { !one.outcomes.isEmpty })
    #expect(one.outcomes == [.lost(ECONNRESET)])
    #expect(read(one.app)?.count == 1000)
  }

  @Test func `bytes for an app that reads no more are dropped, not kept`() throws {
    let relays = try Relays(bufferBytes: 65_536)
    let one = relays.add()
    shutdown(one.app, Int32(SHUT_RD))
    var sent = 0
    #expect(
      relays.run {
        sent += write(one.peer, 65_536)
        return sent > 2 << 20
      })
    #expect(one.outcomes.isEmpty)
    _ = write(one.app, 3)
    #expect(relays.run { read(one.peer)?.count == 3 })
  }

  @Test func `closing in the middle of it all gives every buffer back`() throws {
    let relays = try Relays()
    let one = relays.add()
    relays.settle()
    let free = relays.pool.freeCount
    while fill(one.app) + fill(one.peer) > 0 { relays.settle() }
    one.relay.close()
    #expect(relays.run { !one.relay.isBusy })
    one.relay = HostRelay(ring: relays.ring, pool: relays.pool, pair: one.pair, host: one.host) { _ in
      Token(kind: Daemon.Kind.host, operation: 0, owner: 0)
    }
    #expect(relays.pool.freeCount == free)
  }

  @Test func `draining sends what the app has written, then ends`() throws {
    let relays = try Relays()
    let one = relays.add()
    relays.settle()
    let sent = fill(one.app)
    _ = one.relay.drain()
    var got = 0
    #expect(
      relays.run {
        got += read(one.peer)?.count ?? 0
        return one.outcomes == [.ended(.inOrder)]
      })
    while let piece = read(one.peer), !piece.isEmpty { got += piece.count }
    #expect(got == sent)
    #expect(!one.relay.hasUndelivered)
  }
}
