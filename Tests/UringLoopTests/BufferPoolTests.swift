import Glibc
import Testing
import UringLoop

@Suite(.enabled(if: ringIsAvailable, "io_uring is not available here"))
struct BufferPoolTests {
  @Test(arguments: [Capabilities.Limit.newest, .baseline])
  func `a receive picks a buffer of the pool`(limit: Capabilities.Limit) throws {
    let ring = try Ring(entries: 8, limit: limit)
    let pool = try BufferPool(ring: ring, group: 1, bufferBytes: 4096, count: 8, ringDepth: 4)
    let pair = SocketPair()
    ring.prepareReceive(pair.ends[0], from: pool, maximumBytes: 4096, token: .test(1))
    pair.send("through the pool")
    let completion = try #require(ring.completions(1).first)
    #expect(pool.text(completion) == "through the pool")
    let index = try #require(completion.bufferIndex)
    pool.take(index)
    #expect(pool.index(holding: pool.address(index) + 4095) == index)
    pool.release(index)
    #expect(pool.freeCount == 5)
  }

  @Test func `a buffer for one's own use is nobody else's until it is released`() throws {
    let ring = try Ring(entries: 8)
    let pool = try BufferPool(ring: ring, group: 1, bufferBytes: 64, count: 4, ringDepth: 2)
    let first = try #require(pool.acquire())
    let second = try #require(pool.acquire())
    #expect(first != second)
    #expect(pool.acquire() == nil, "the other two are the kernel's")
    pool.release(first)
    #expect(pool.acquire() == first)
  }

  @Test func `the end of the stream takes no buffer for long`() throws {
    let ring = try Ring(entries: 8)
    let pool = try BufferPool(ring: ring, group: 1, bufferBytes: 4096, count: 2, ringDepth: 2)
    let pair = SocketPair()
    pair.close(1)
    for _ in 0..<5 {
      ring.prepareReceive(pair.ends[0], from: pool, maximumBytes: 4096, token: .test(1))
      let completion = try #require(ring.completions(1).first)
      #expect(completion.result == 0)
      if let index = completion.bufferIndex {
        pool.take(index)
        pool.release(index)
        pool.replenish()
      }
    }
  }

  @Test func `an empty pool is ENOBUFS, and a release with replenish cures it`() throws {
    let ring = try Ring(entries: 8)
    let pool = try BufferPool(ring: ring, group: 1, bufferBytes: 64, count: 2, ringDepth: 2)
    let pair = SocketPair()
    var held: [Int] = []
    for text in ["one", "two"] {
      pair.send(text)
      ring.prepareReceive(pair.ends[0], from: pool, maximumBytes: 64, token: .test(1))
      let completion = try #require(ring.completions(1).first)
      #expect(pool.text(completion) == text)
      let index = try #require(completion.bufferIndex)
      pool.take(index)
      held.append(index)
    }
    #expect(pool.isExhausted)
    #expect(Set(held) == [0, 1])
    pair.send("three")
    ring.prepareReceive(pair.ends[0], from: pool, maximumBytes: 64, token: .test(1))
    #expect(ring.completions(1).map(\.result) == [-ENOBUFS])
    pool.release(held[0])
    #expect(pool.isExhausted)  // free, but not yet in the kernel's hands
    pool.replenish()
    #expect(!pool.isExhausted)
    ring.prepareReceive(pair.ends[0], from: pool, maximumBytes: 64, token: .test(1))
    let completion = try #require(ring.completions(1).first)
    #expect(pool.text(completion) == "three")
    #expect(completion.bufferIndex == held[0])
  }

  @Test func `a retained buffer stays out until its last release`() throws {
    let ring = try Ring(entries: 8)
    let pool = try BufferPool(ring: ring, group: 1, bufferBytes: 64, count: 1, ringDepth: 1)
    let pair = SocketPair()
    pair.send("kept")
    ring.prepareReceive(pair.ends[0], from: pool, maximumBytes: 64, token: .test(1))
    let completion = try #require(ring.completions(1).first)
    let index = try #require(completion.bufferIndex)
    pool.take(index)
    pool.retain(index)
    pool.release(index)
    pool.replenish()
    #expect(pool.isExhausted)
    #expect(pool.text(completion) == "kept")
    pool.release(index)
    pool.replenish()
    #expect(!pool.isExhausted)
  }

  @Test func `quiet traffic in a large pool touches few buffers`() throws {
    let ring = try Ring(entries: 8)
    let pool = try BufferPool(ring: ring, group: 1, bufferBytes: 4096, count: 1024, ringDepth: 4)
    let pair = SocketPair()
    var used: Set<Int> = []
    for round in 0..<200 {
      pair.send("round \(round)")
      ring.prepareReceive(pair.ends[0], from: pool, maximumBytes: 4096, token: .test(1))
      let completion = try #require(ring.completions(1).first)
      #expect(pool.text(completion) == "round \(round)")
      let index = try #require(completion.bufferIndex)
      pool.take(index)
      pool.release(index)
      pool.replenish()
      used.insert(index)
    }
    #expect(used.count <= 4)
  }

  @Test func `the kernel is given no more buffers than asked for`() throws {
    let ring = try Ring(entries: 8)
    let pool = try BufferPool(ring: ring, group: 1, bufferBytes: 64, count: 16, ringDepth: 8)
    let pair = SocketPair()
    var used: [Int] = []
    func receive() throws -> Int32 {
      pair.send("x")
      ring.prepareReceive(pair.ends[0], from: pool, maximumBytes: 64, waits: false, token: .test(1))
      let completion = try #require(ring.completions(1).first)
      guard let index = completion.bufferIndex else { return completion.result }
      pool.take(index)
      used.append(index)
      return completion.result
    }
    for _ in 0..<8 { #expect(try receive() == 1) }
    for index in used { pool.release(index) }
    used = []
    pool.replenish(upTo: 2)
    for _ in 0..<2 { #expect(try receive() == 1) }
    #expect(try receive() == -ENOBUFS)
    pool.replenish(upTo: 0)
    #expect(pool.isExhausted)
    pool.replenish()
    #expect(pool.freeCount == 16 - 8 - 2)
  }

  @Test func `addresses outside belong to no buffer`() throws {
    let ring = try Ring(entries: 8)
    let pool = try BufferPool(ring: ring, group: 1, bufferBytes: 4096, count: 8, ringDepth: 8)
    #expect(pool.freeCount == 0)
    #expect(pool.index(holding: pool.address(0) - 1) == nil)
    #expect(pool.index(holding: pool.address(7) + 2 * 4096) == nil)
    #expect(pool.index(holding: pool.address(7)) == 7)
    var elsewhere = 0
    withUnsafePointer(to: &elsewhere) { #expect(pool.index(holding: $0) == nil) }
  }

  @Test func `no buffer's end adjoins another's start`() throws {
    let pool = try BufferPool(ring: try Ring(entries: 8), group: 1, bufferBytes: 65_536, count: 4, ringDepth: 4)
    for index in 0..<4 {
      #expect(pool.index(holding: pool.address(index) + 65_535) == index)
      for other in 0..<4 { #expect(pool.address(index) + 65_536 != pool.address(other)) }
    }
  }

  @Test func `two pools of a ring do not mix`() throws {
    let ring = try Ring(entries: 8)
    let first = try BufferPool(ring: ring, group: 1, bufferBytes: 64, count: 1, ringDepth: 1)
    let second = try BufferPool(ring: ring, group: 2, bufferBytes: 64, count: 1, ringDepth: 1)
    let pair = SocketPair()
    pair.send("second")
    ring.prepareReceive(pair.ends[0], from: second, maximumBytes: 64, token: .test(1))
    let completion = try #require(ring.completions(1).first)
    second.take(try #require(completion.bufferIndex))
    #expect(second.text(completion) == "second")
    #expect(second.isExhausted)
    #expect(!first.isExhausted)
  }

  @Test func `a group that exists already is refused, with a cause`() throws {
    let ring = try Ring(entries: 8)
    let pool = try BufferPool(ring: ring, group: 1, bufferBytes: 64, count: 1, ringDepth: 1)
    #expect {
      _ = try BufferPool(ring: ring, group: 1, bufferBytes: 64, count: 1, ringDepth: 1)
    } throws: { error in
      let error = error as? RingError
      return error?.code == EEXIST && error?.description.contains("buffer") == true
    }
    #expect(!pool.isExhausted)
  }

  @Test(.enabled(if: (try? Ring(entries: 2))?.capabilities.readMultishot == true, "multishot read needs Linux 6.7"))
  func `a multishot read goes on while there are buffers, and ends with ENOBUFS`() throws {
    let ring = try Ring(entries: 16)
    let pool = try BufferPool(ring: ring, group: 1, bufferBytes: 64, count: 2, ringDepth: 2)
    var ends: [Int32] = [-1, -1]
    try #require(pipe(&ends) == 0)
    defer { for end in ends { close(end) } }
    ring.prepareReadMultishot(ends[0], from: pool, token: .test(1))
    #expect(ring.completionsSoFar().isEmpty)
    for text in ["a", "b"] {
      #expect(write(ends[1], text, 1) == 1)
      let completion = try #require(ring.completions(1).first)
      #expect(pool.text(completion) == text)
      #expect(completion.more)
      pool.take(try #require(completion.bufferIndex))
    }
    #expect(write(ends[1], "c", 1) == 1)
    let last = try #require(ring.completions(1).first)
    #expect(last.result == -ENOBUFS)
    #expect(!last.more)
  }
}
