internal import Glibc
internal import Synchronization
internal import TestSupport

/// What a client does, and how often.
public struct ClientPlan: Sendable {
  /// How a sender ends its stream.
  public enum Finish: String, Sendable, CaseIterable {
    /// The server knows the count and answers after the last byte.
    case report
    /// SHUT_WR, then the server's answer until end of file.
    case halfClose = "half-close"
    /// close(2) at once; only the server's log tells what came.
    case close
  }

  public var endpoint: Endpoint
  /// Bytes per transfer; ignored when `seconds` is set.
  public var bytes: UInt64 = 0
  /// How long a transfer, or the whole churn, lasts; nil counts `bytes` or `count` instead.
  public var seconds: Double?
  public var seed: UInt64 = 1
  public var chunkBytes = 131_072
  public var closer: Closer = .client
  public var finish: Finish = .report
  public var wantsDigest = false
  /// Transfers one after another, or connections of churn.
  public var count = 1
  /// Connections at once: threads of bulk and churn, connections of one thread for echo and non-blocking churn.
  public var concurrency = 1
  /// Churn with non-blocking connects from one thread, instead of blocking ones from `concurrency` threads.
  public var isNonBlocking = false
  /// Churn closes with RST instead of FIN.
  public var closesByReset = false
  /// Addresses to bind idle connections to, in turn; none: the system chooses.
  public var sources: [Endpoint] = []

  public init(endpoint: Endpoint) { self.endpoint = endpoint }
}

/// What a client measured: one JSON line.
public struct ClientResult: Codable, Sendable {
  public var scenario: String
  /// Bytes of payload, of all transfers.
  public var bytes: UInt64 = 0
  /// Connections made.
  public var connections = 0
  /// From before the first connect to after the last answer.
  public var seconds: Double = 0
  /// Whether each byte was the pattern's at its receiver, the counts agree, and so do the digests where asked for.
  public var verified = true
  /// 10⁹ bits of payload per second.
  public var gigabitsPerSecond: Double = 0
  public var connectionsPerSecond: Double = 0
  /// Answered requests of echo.
  public var requests = 0
  public var requestsPerSecond: Double = 0
  /// Of single requests or connections.
  public var latency: Latency?
  /// Datagrams that were sent, and those that arrived whole.
  public var sentDatagrams = 0
  public var arrivedDatagrams = 0
  /// User and system time of the client's process, in seconds.
  public var cpuSeconds: Double = 0
  /// `StreamDigest` of the last transfer, as sent and as received; empty when not asked for.
  public var sentDigest = ""
  public var receivedDigest = ""
  /// What was wrong, if anything.
  public var problem: String?

  init(_ scenario: String) { self.scenario = scenario }

  mutating func fail(_ text: String) {
    verified = false
    if problem == nil { problem = text }
  }

  /// Adds what another thread did.
  mutating func merge(_ other: ClientResult) {
    bytes += other.bytes
    connections += other.connections
    sentDigest = other.sentDigest
    receivedDigest = other.receivedDigest
    if !other.verified { fail(other.problem ?? "unknown") }
  }

  mutating func finish(since start: Start) {
    seconds = monotonicSeconds() - start.seconds
    cpuSeconds = Double(cpuNanoseconds(CLOCK_PROCESS_CPUTIME_ID) - start.cpu) * 1e-9
    gigabitsPerSecond = Double(bytes) * 8e-9 / seconds
    connectionsPerSecond = Double(connections) / seconds
    requestsPerSecond = Double(requests) / seconds
  }
}

/// When a measurement began.
struct Start {
  let seconds = monotonicSeconds()
  let cpu = cpuNanoseconds(CLOCK_PROCESS_CPUTIME_ID)
}

/// The client's scenarios. A failed call is thrown as `SupportError` or told in the result, a wrong byte in the result.
public enum Client {
  /// The app sends, the server checks.
  public static func bulkSend(_ plan: ClientPlan) throws -> ClientResult {
    transfers("bulk-send", plan) { plan, pattern, result throws(SupportError) in
      try sendOnce(plan, pattern, &result)
    }
  }

  /// The server sends, the app checks.
  public static func bulkReceive(_ plan: ClientPlan) throws -> ClientResult {
    transfers("bulk-receive", plan) { plan, pattern, result throws(SupportError) in
      try receiveOnce(plan, pattern, &result)
    }
  }

  /// Both send at the same time, both check.
  public static func duplex(_ plan: ClientPlan) throws -> ClientResult {
    transfers("duplex", plan) { plan, pattern, result throws(SupportError) in
      var header = RequestHeader(.duplex)
      header.bytes = plan.bytes
      let stream = try connect(plan, &header)
      let mine = try stream.duplex(pattern, count: plan.bytes, wantsDigest: plan.wantsDigest)
      let theirs = try answer(stream, plan)
      check(mine, count: plan.bytes, "received", &result)
      check(theirs, count: plan.bytes, "server received", &result)
      result.sentDigest = plan.wantsDigest ? String(mine.digest, radix: 16) : ""
      result.receivedDigest = plan.wantsDigest ? String(theirs.digest, radix: 16) : ""
      result.bytes += plan.bytes * 2
    }
  }

  /// `count` transfers one after another in each of `concurrency` threads.
  private static func transfers(
    _ name: String, _ plan: ClientPlan,
    _ once: @escaping @Sendable (ClientPlan, borrowing Pattern, inout ClientResult) throws(SupportError) -> Void
  ) -> ClientResult {
    let shared = PatternCache.pattern(seed: plan.seed, windowBytes: plan.chunkBytes)
    let all = Mutex(ClientResult(name))
    let start = Start()
    Threads.forEach(plan.concurrency) { _ in
      var mine = ClientResult(name)
      do throws(SupportError) {
        for _ in 0..<plan.count {
          try once(plan, shared.pattern, &mine)
          mine.connections += 1
          if plan.finish != .close && mine.sentDigest != mine.receivedDigest { mine.fail("digests differ") }
        }
      } catch {
        mine.fail(error.description)
      }
      let outcome = mine
      all.withLock { $0.merge(outcome) }
    }
    var result = all.withLock { $0 }
    result.finish(since: start)
    return result
  }

  private static func connect(_ plan: ClientPlan, _ header: inout RequestHeader) throws(SupportError) -> Stream {
    header.seed = plan.seed
    header.closer = plan.closer
    header.wantsDigest = plan.wantsDigest
    header.chunkBytes = UInt32(plan.chunkBytes)
    let stream = Stream(try plan.endpoint.connected(), chunkBytes: plan.chunkBytes)
    try stream.sendAll(header.encoded)
    return stream
  }

  private static func answer(_ stream: borrowing Stream, _ plan: ClientPlan) throws(SupportError) -> Report {
    let bytes = try stream.receiveAll(Report.byteCount)
    guard let report = bytes.withUnsafeBytes({ Report(decoding: $0) }) else {
      throw SupportError("the server's answer is no report")
    }
    if plan.closer == .server { try stream.expectEnd() }
    return report
  }

  private static func check(_ report: Report, count: UInt64, _ who: String, _ result: inout ClientResult) {
    if let position = report.firstMismatch { result.fail("\(who): wrong byte at \(position)") }
    if report.count != count { result.fail("\(who): \(report.count) bytes instead of \(count)") }
  }

  private static func sendOnce(
    _ plan: ClientPlan, _ pattern: borrowing Pattern, _ result: inout ClientResult
  ) throws(SupportError) {
    let isTimed = plan.seconds != nil
    var header = RequestHeader(plan.finish == .report && !isTimed ? .sink : .sinkUntilEnd)
    header.bytes = plan.bytes
    header.wantsReport = plan.finish != .close
    let stream = try connect(plan, &header)
    var digest = plan.wantsDigest ? StreamDigest() : nil
    let deadline = plan.seconds.map { monotonicSeconds() + $0 }
    let sent = try stream.send(pattern, limit: isTimed ? .max : plan.bytes, deadline: deadline, digest: &digest)
    result.bytes += sent
    result.sentDigest = digest.map { String($0.value, radix: 16) } ?? ""
    guard plan.finish != .close else { return }
    if header.scenario == .sinkUntilEnd { try stream.finishSending() }
    let report = try answer(stream, plan)
    check(report, count: sent, "server", &result)
    result.receivedDigest = plan.wantsDigest ? String(report.digest, radix: 16) : ""
  }

  private static func receiveOnce(
    _ plan: ClientPlan, _ pattern: borrowing Pattern, _ result: inout ClientResult
  ) throws(SupportError) {
    var header = RequestHeader(.source)
    header.bytes = plan.bytes
    var plan = plan
    if let seconds = plan.seconds {
      header.durationMilliseconds = UInt32(max(1, seconds * 1000))
      plan.closer = .server
    }
    let stream = try connect(plan, &header)
    let limit = plan.closer == .server ? .max : plan.bytes
    let report = try stream.receive(pattern, limit: limit, wantsDigest: plan.wantsDigest)
    check(report, count: plan.seconds == nil ? plan.bytes : report.count, "received", &result)
    result.bytes += report.count
    guard plan.wantsDigest else { return }
    result.receivedDigest = String(report.digest, radix: 16)
    result.sentDigest = expectedDigest(pattern, report.count)
  }

  /// The digest of the pattern's first `count` bytes: what an honest server sent.
  private static func expectedDigest(_ pattern: borrowing Pattern, _ count: UInt64) -> String {
    var digest = StreamDigest()
    var position: UInt64 = 0
    while position < count {
      let piece = Int(min(count - position, UInt64(pattern.windowBytes)))
      digest.update(pattern.bytes(at: position, count: piece))
      position += UInt64(piece)
    }
    return String(digest.value, radix: 16)
  }
}
