import CUring
import Glibc
import Testing
import UringLoop

@Suite struct TokenTests {
  @Test func `kind, operation and owner come back as they were packed`() {
    let token = Token(kind: 0xab, operation: 0xcd, owner: 0x1234_5678_9abc)
    #expect(token.rawValue == 0xabcd_1234_5678_9abc)
    #expect((token.kind, token.operation, token.owner) == (0xab, 0xcd, 0x1234_5678_9abc))
    let largest = Token(kind: .max, operation: .max, owner: 0xffff_ffff_ffff)
    #expect(largest.rawValue == .max)
    #expect(Token(rawValue: largest.rawValue) == largest)
  }

  @Test func `a completion's flags tell of the buffer and of more to come`() {
    let token = Token(kind: 1, operation: 2, owner: 3)
    let plain = Completion(token: token, result: 5)
    #expect(plain.bufferIndex == nil)
    #expect(!plain.more)
    let armed = Completion(token: token, result: 5, flags: 0x0007_0003)
    #expect(armed.bufferIndex == 7)
    #expect(armed.more)
    #expect(Completion(token: token, result: -ENOBUFS, flags: 0x0007_0000).bufferIndex == nil)
  }
}

@Suite(.enabled(if: ringIsAvailable, "io_uring is not available here"))
struct RingTests {
  @Test func `a no-op comes back with its token`() throws {
    let ring = try Ring(entries: 8)
    ring.prepareNop(token: .test(9, 77))
    let completions = ring.completions(1)
    #expect(completions.map(\.token) == [.test(9, 77)])
    #expect(completions.map(\.result) == [0])
    #expect(ring.completionCount == 1)
  }

  @Test func `nothing reaches the kernel before it is submitted`() throws {
    let ring = try Ring(entries: 8)
    ring.prepareNop(token: .test(1))
    var seen = 0
    ring.drain { _ in seen += 1 }
    #expect(seen == 0)
    #expect(ring.enterCount == 0)
    #expect(ring.completionsSoFar().count == 1)
    #expect(ring.enterCount == 1)
  }

  @Test(arguments: [Capabilities.Limit.newest, .baseline])
  func `spinning ends with a completion, or with the time`(limit: Capabilities.Limit) throws {
    let ring = try Ring(entries: 8, limit: limit)
    let pair = SocketPair()
    ring.preparePoll(pair.ends[0], events: Int16(POLLIN), token: .test(3))
    #expect(!ring.submitAndSpin(nanoseconds: 1_000_000))
    pair.send("x")
    #expect(ring.submitAndSpin(nanoseconds: 60_000_000_000))
    var seen: [Token] = []
    ring.drain { seen.append($0.token) }
    #expect(seen == [.test(3)])
  }

  @Test func `more operations than the queue has entries all complete, each once`() throws {
    let ring = try Ring(entries: 8)
    for owner in 0..<60 { ring.prepareNop(token: .test(1, UInt64(owner))) }
    let owners = ring.completions(60).map(\.token.owner)
    #expect(owners.sorted() == (0..<60).map { UInt64($0) })
    #expect(ring.completionsSoFar().isEmpty)
  }

  @Test func `operations prepared while draining wait for the next submission`() throws {
    let ring = try Ring(entries: 8)
    ring.prepareNop(token: .test(1))
    ring.submitAndWait(nanoseconds: nil)
    var first: [UInt8] = []
    ring.drain {
      first.append($0.token.operation)
      ring.prepareNop(token: .test(2))
    }
    #expect(first == [1])
    #expect(ring.completions(1).map(\.token.operation) == [2])
  }

  @Test func `a wait ends when its time is over`() throws {
    let ring = try Ring(entries: 8)
    let start = monotonicNanoseconds()
    ring.submitAndWait(nanoseconds: 20_000_000)
    #expect(monotonicNanoseconds() - start >= 19_000_000)
    #expect(ring.completionsSoFar().isEmpty)
  }

  @Test func `the timer that stands moves to an earlier time, and lets a later wait go on`() throws {
    let ring = try Ring(entries: 8)
    ring.prepareNop(token: .test(1))
    ring.submitAndWait(nanoseconds: 3_600_000_000_000)  // the timer stands in an hour
    #expect(ring.completionsSoFar().count == 1)
    let start = monotonicNanoseconds()
    ring.submitAndWait(nanoseconds: 20_000_000)
    let first = monotonicNanoseconds()
    #expect(ring.completionsSoFar().isEmpty)
    #expect(first - start >= 19_000_000 && first - start < 600_000_000_000)
    ring.prepareNop(token: .test(1))
    ring.submitAndWait(nanoseconds: 30_000_000)  // and now in 30 ms
    #expect(ring.completionsSoFar().count == 1)
    ring.submitAndWait(nanoseconds: 60_000_000)  // too soon, once
    let second = monotonicNanoseconds()
    #expect(second - first >= 29_000_000)
    #expect(ring.completionsSoFar().isEmpty)
    ring.submitAndWait(nanoseconds: 40_000_000)
    #expect(monotonicNanoseconds() - second >= 39_000_000)
    #expect(ring.completionsSoFar().isEmpty)
    #expect(ring.completionCount == 2, "the ring's own do not count")
  }

  @Test func `a wait that gathers lasts its least time with few completions, and no longer than the time given`() throws
  {
    let ring = try Ring()
    guard ring.capabilities.leastWait else { return }
    let ends = SocketPair()
    ring.preparePoll(ends.ends[0], events: Int16(POLLIN), token: .test(1))
    ring.submit()
    let start = monotonicNanoseconds()
    ends.send("x")
    ring.submitAndWait(nanoseconds: nil, gathering: 30_000_000)
    #expect(monotonicNanoseconds() - start < 15_000_000_000, "what has come before ends it")
    #expect(ring.completionsSoFar().count == 1)
    ring.preparePoll(ends.ends[0], events: Int16(POLLPRI), token: .test(2))
    let second = monotonicNanoseconds()
    ring.submitAndWait(nanoseconds: 30_000_000, gathering: 10_000)
    #expect(monotonicNanoseconds() - second >= 29_000_000)
    #expect(ring.completionsSoFar().isEmpty)
  }

  @Test func `a wait of no time does not wait, and still submits`() throws {
    let ring = try Ring(entries: 8)
    ring.prepareNop(token: .test(3))
    ring.submitAndWait(nanoseconds: 0)
    var seen: [Token] = []
    ring.drain { seen.append($0.token) }
    #expect(seen == [.test(3)])
  }

  @Test func `a wait ends with the first completion`() throws {
    let ring = try Ring(entries: 8)
    ring.prepareNop(token: .test(3))
    let start = monotonicNanoseconds()
    ring.submitAndWait(nanoseconds: 600_000_000_000)
    #expect(monotonicNanoseconds() - start < 60_000_000_000)
    var seen = 0
    ring.drain { _ in seen += 1 }
    #expect(seen == 1)
  }

  @Test func `the baseline has nothing newer than Linux 6_1, and says so`() throws {
    let ring = try Ring(entries: 8, limit: .baseline)
    #expect(!ring.capabilities.readMultishot)
    #expect(ring.capabilities.description.contains("no multishot read"))
    #expect(ring.capabilities.description.contains("no least wait"))
    ring.prepareNop(token: .test(1))
    #expect(ring.completions(1).count == 1)
  }
}

@Suite(.enabled(if: ringIsAvailable, "io_uring is not available here"))
struct OperationTests {
  @Test func `a cancelled read completes with ECANCELED, and the cancellation with success`() throws {
    let ring = try Ring(entries: 8)
    let pair = SocketPair()
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 16, alignment: 1)
    defer { buffer.deallocate() }
    ring.prepareRead(pair.ends[0], into: buffer, token: .test(1))
    #expect(ring.completionsSoFar().isEmpty)
    ring.prepareCancel(.test(1), token: .test(2))
    let results = Dictionary(uniqueKeysWithValues: ring.completions(2).map { ($0.token.operation, $0.result) })
    #expect(results == [1: -ECANCELED, 2: 0])
  }

  @Test func `cancelling what is not there says ENOENT`() throws {
    let ring = try Ring(entries: 8)
    ring.prepareCancel(.test(1), token: .test(2))
    #expect(ring.completions(1).map(\.result) == [-ENOENT])
  }

  @Test func `a read into own memory brings the bytes`() throws {
    let ring = try Ring(entries: 8)
    let pair = SocketPair()
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 16, alignment: 1)
    defer { buffer.deallocate() }
    ring.prepareRead(pair.ends[0], into: buffer, token: .test(1))
    pair.send("hello")
    #expect(ring.completions(1).map(\.result) == [5])
    #expect(String(decoding: buffer.prefix(5), as: UTF8.self) == "hello")
  }

  @Test func `a write takes all pieces in order`() throws {
    let ring = try Ring(entries: 8)
    let pair = SocketPair()
    let text = strdup("first, second")!
    defer { free(text) }
    let vectors = UnsafeMutablePointer<iovec>.allocate(capacity: 2)
    defer { vectors.deallocate() }
    vectors[0] = iovec(iov_base: text, iov_len: 7)
    vectors[1] = iovec(iov_base: text + 7, iov_len: 6)
    ring.prepareWrite(pair.ends[0], vectors, count: 2, token: .test(1))
    #expect(ring.completions(1).map(\.result) == [13])
    var bytes = [UInt8](repeating: 0, count: 64)
    #expect(recv(pair.ends[1], &bytes, 64, 0) == 13)
    #expect(String(decoding: bytes.prefix(13), as: UTF8.self) == "first, second")
  }

  @Test func `a send of a piece completes when all of it is sent, also beyond the buffer`() throws {
    let ring = try Ring(entries: 8)
    let pair = SocketPair()
    let bytes = UnsafeMutableRawBufferPointer.allocate(byteCount: 4 << 20, alignment: 1)
    defer { bytes.deallocate() }
    for index in bytes.indices { bytes[index] = UInt8(truncatingIfNeeded: index &* 31) }
    ring.prepareSend(pair.ends[0], UnsafeRawBufferPointer(bytes), token: .test(1))
    #expect(ring.completionsSoFar().isEmpty)
    var received: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 1 << 20)
    var completions: [Completion] = []
    while received.count < bytes.count {
      let count = recv(pair.ends[1], &chunk, chunk.count, Int32(MSG_DONTWAIT))
      if count > 0 { received += chunk[..<count] } else { completions += ring.completionsSoFar() }
    }
    completions += completions.isEmpty ? ring.completions(1) : []
    #expect(completions.map(\.result) == [4 << 20])
    #expect(received.elementsEqual(bytes))
  }

  @Test func `a send to a closed end fails without a signal`() throws {
    let ring = try Ring(entries: 8)
    let pair = SocketPair()
    pair.close(1)
    [UInt8](repeating: 0, count: 8).withUnsafeBytes { ring.prepareSend(pair.ends[0], $0, token: .test(1)) }
    #expect(ring.completions(1).map(\.result) == [-EPIPE])
  }

  @Test func `one multishot accept takes many connections, until it is cancelled`() throws {
    let ring = try Ring(entries: 16)
    let (listener, address) = try listeningSocket()
    defer { close(listener) }
    ring.prepareAcceptMultishot(listener, token: .test(1))
    #expect(ring.completionsSoFar().isEmpty)
    let clients = (0..<5).map { _ in connectedSocket(to: address) }
    defer { for client in clients { close(client) } }
    #expect(clients.allSatisfy { $0 >= 0 })
    let accepted = ring.completions(5)
    #expect(accepted.count == 5)
    #expect(accepted.allSatisfy { $0.result >= 0 && $0.more && $0.token == .test(1) })
    #expect(accepted.allSatisfy { fcntl($0.result, F_GETFD) == FD_CLOEXEC })
    for completion in accepted where completion.result >= 0 { close(completion.result) }
    ring.prepareCancel(.test(1), token: .test(2))
    let last = ring.completions(2).first { $0.token == .test(1) }
    #expect(last?.result == -ECANCELED)
    #expect(last?.more == false)
  }

  /// The peer of a half-closed app: RDHUP comes first and must not hide the HUP of the full close.
  @Test func `a multishot poll tells of a hang-up after a half close`() throws {
    let ring = try Ring(entries: 8)
    let pair = SocketPair()
    ring.preparePollMultishot(pair.ends[0], events: 0, token: .test(1))
    #expect(ring.completionsSoFar().isEmpty)
    shutdown(pair.ends[1], Int32(SHUT_WR))
    let half = ring.completions(1)
    #expect(half.allSatisfy { $0.result > 0 && $0.result & Int32(POLLHUP) == 0 && $0.more })
    pair.close(1)
    var seen: [Completion] = []
    while seen.last.map({ $0.result & Int32(POLLHUP) == 0 && $0.more }) ?? true {
      let next = ring.completions(1)
      try #require(!next.isEmpty, "no hang-up was reported")
      seen += next
    }
    #expect(seen.contains { $0.result & Int32(POLLHUP) != 0 })
  }

  @Test func `a single poll completes once with the events`() throws {
    let ring = try Ring(entries: 8)
    let pair = SocketPair()
    ring.preparePoll(pair.ends[0], events: Int16(POLLIN), token: .test(1))
    #expect(ring.completionsSoFar().isEmpty)
    pair.send("x")
    let completions = ring.completions(1)
    #expect(completions.map { $0.result & Int32(POLLIN) } == [Int32(POLLIN)])
    #expect(completions.allSatisfy { !$0.more })
  }

  /// A listening unix socket with a name the kernel chose (unix(7), autobind), and that name.
  private func listeningSocket() throws -> (Int32, sockaddr_un) {
    let listener = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    var length = socklen_t(MemoryLayout<sa_family_t>.size)
    let bound = withUnsafePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { bind(listener, $0, length) }
    }
    try #require(bound == 0 && listen(listener, 16) == 0)
    length = socklen_t(MemoryLayout<sockaddr_un>.size)
    _ = withUnsafeMutablePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { getsockname(listener, $0, &length) }
    }
    return (listener, address)
  }

  private func connectedSocket(to address: sockaddr_un) -> Int32 {
    var address = address
    let fd = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
    let length = socklen_t(MemoryLayout<sa_family_t>.size + 6)  // a NUL and five hexadecimal digits
    let status = withUnsafePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { connect(fd, $0, length) }
    }
    return status == 0 ? fd : -1
  }
}
