internal import CEpoll
internal import Glibc
internal import Synchronization
internal import TestSupport

/// Connections one after another: connect, 32 bytes there, one byte back, close.
extension Client {
  public static func churn(_ plan: ClientPlan) throws -> ClientResult {
    var result = ClientResult("churn")
    let start = Start()
    var latencies = Latencies()
    if plan.isNonBlocking {
      result.connections = try churnWithoutBlocking(plan, &latencies)
    } else {
      churnInThreads(plan, &result, &latencies)
    }
    result.bytes = UInt64(result.connections) * UInt64(RequestHeader.byteCount + 1)
    result.latency = latencies.summary
    result.finish(since: start)
    return result
  }

  private static func churnInThreads(_ plan: ClientPlan, _ result: inout ClientResult, _ all: inout Latencies) {
    struct Outcome {
      var made = 0
      var problem: String?
      var latencies = Latencies()
    }
    let shared = Mutex(Outcome())
    let deadline = plan.seconds.map { monotonicSeconds() + $0 }
    Threads.forEach(plan.concurrency) { index in
      let share = plan.count / plan.concurrency + (index < plan.count % plan.concurrency ? 1 : 0)
      var mine = Outcome()
      while deadline.map({ monotonicSeconds() < $0 }) ?? (mine.made < share) {
        let before = monotonicSeconds()
        do throws(SupportError) {
          try churnOnce(plan)
        } catch {
          mine.problem = error.description
          break
        }
        mine.made += 1
        mine.latencies.add(seconds: monotonicSeconds() - before)
      }
      let outcome = mine
      shared.withLock { shared in
        shared.made += outcome.made
        shared.latencies.merge(outcome.latencies)
        if shared.problem == nil { shared.problem = outcome.problem }
      }
    }
    let outcome = shared.withLock { $0 }
    result.connections = outcome.made
    all = outcome.latencies
    if let problem = outcome.problem { result.fail(problem) }
  }

  private static func churnHeader(_ plan: ClientPlan) -> [UInt8] {
    var header = RequestHeader(.churn)
    header.seed = plan.seed
    header.closer = plan.closer
    return header.encoded
  }

  /// Makes close(2) send RST instead of FIN (socket(7), SO_LINGER with a time of zero).
  private static func closeByReset(_ descriptor: Int32) {
    var linger = linger(l_onoff: 1, l_linger: 0)
    setsockopt(descriptor, SOL_SOCKET, SO_LINGER, &linger, socklen_t(MemoryLayout<linger>.size))
  }

  private static func churnOnce(_ plan: ClientPlan) throws(SupportError) {
    let stream = Stream(try plan.endpoint.connected(), chunkBytes: 64)
    try stream.sendAll(churnHeader(plan))
    let answer = try stream.receiveAll(1)
    guard answer == [UInt8(truncatingIfNeeded: plan.seed)] else { throw SupportError("wrong answer byte \(answer)") }
    if plan.closer == .server { try stream.expectEnd() }
    if plan.closesByReset { closeByReset(stream.descriptor) }
  }

  private enum Step {
    case connecting
    case waiting
    case ending
  }

  /// One thread: `concurrency` connections at once, each a non-blocking connect(2), watched by epoll.
  private static func churnWithoutBlocking(
    _ plan: ClientPlan, _ latencies: inout Latencies
  ) throws(SupportError) -> Int {
    let events = try EventSet()
    let header = churnHeader(plan)
    let end = plan.seconds.map { monotonicSeconds() + $0 } ?? .infinity
    var left = plan.seconds == nil ? plan.count : .max
    var open: [Int32: (step: Step, before: Double)] = [:]
    defer { for descriptor in open.keys { close(descriptor) } }
    var made = 0
    func begin() throws(SupportError) {
      guard left > 0, monotonicSeconds() < end else { return }
      left -= 1
      let before = monotonicSeconds()
      let descriptor = try plan.endpoint.connecting()
      open[descriptor] = (.connecting, before)
      try events.add(descriptor, EPOLLOUT)
    }
    for _ in 0..<plan.concurrency { try begin() }
    while !open.isEmpty {
      let ready = try events.wait(milliseconds: 10_000) { descriptor throws(SupportError) in
        guard let (step, before) = open[descriptor] else { return }
        switch step {
        case .connecting:
          try Endpoint.finishConnecting(descriptor)
          try sendWhole(descriptor, header)
          open[descriptor] = (.waiting, before)
          try events.change(descriptor, EPOLLIN)
          return
        case .waiting:
          var byte: UInt8 = 0
          guard recv(descriptor, &byte, 1, 0) == 1 else { throw SupportError.systemCall("recv", "an answer") }
          guard byte == UInt8(truncatingIfNeeded: plan.seed) else { throw SupportError("wrong answer byte \(byte)") }
          if plan.closer == .server {
            open[descriptor] = (.ending, before)
            return
          }
        case .ending:
          var byte: UInt8 = 0
          guard recv(descriptor, &byte, 1, 0) == 0 else { throw SupportError("no end of the stream") }
        }
        if plan.closesByReset { closeByReset(descriptor) }
        open[descriptor] = nil
        close(descriptor)
        made += 1
        latencies.add(seconds: monotonicSeconds() - before)
        try begin()
      }
      guard ready > 0 else { throw SupportError("\(open.count) connections without progress for 10 s") }
    }
    return made
  }
}
