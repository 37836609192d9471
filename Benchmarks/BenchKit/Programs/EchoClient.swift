internal import CEpoll
internal import Glibc
internal import TestSupport

/// Requests and their answers, one at a time on each connection; every byte of an answer is compared with its request.
extension Client {
  public static func echo(_ plan: ClientPlan) throws -> ClientResult {
    var result = ClientResult("echo")
    let shared = PatternCache.pattern(seed: plan.seed, windowBytes: plan.chunkBytes)
    let start = Start()
    var latencies = Latencies()
    if plan.concurrency == 1 {
      try echoOnOne(plan, shared, &latencies)
    } else {
      try echoOnMany(plan, shared, &latencies)
    }
    result.connections = plan.concurrency
    result.latency = latencies.summary
    result.requests = result.latency?.count ?? 0
    result.bytes = UInt64(result.requests * plan.chunkBytes * 2)
    result.finish(since: start)
    return result
  }

  private static func echoHeader(_ plan: ClientPlan, _ scenario: RequestKind) -> [UInt8] {
    var header = RequestHeader(scenario)
    header.seed = plan.seed
    header.chunkBytes = UInt32(plan.chunkBytes)
    return header.encoded
  }

  /// A program that blocks in read(2), as most clients of one connection do.
  private static func echoOnOne(
    _ plan: ClientPlan, _ shared: SharedPattern, _ latencies: inout Latencies
  ) throws(SupportError) {
    let descriptor = try plan.endpoint.connected()
    disableDelay(descriptor)
    let stream = Stream(descriptor, chunkBytes: max(plan.chunkBytes, RequestHeader.byteCount))
    try stream.sendAll(echoHeader(plan, .echo))
    let end = monotonicSeconds() + (plan.seconds ?? .infinity)
    var position: UInt64 = 0
    var before = monotonicSeconds()
    for _ in 0..<(plan.seconds == nil ? plan.count : .max) {
      let request = shared.pattern.bytes(at: position, count: plan.chunkBytes)
      try stream.sendAll(request)
      guard try stream.receiveAndCompare(request) else { throw SupportError("wrong answer at byte \(position)") }
      position += UInt64(plan.chunkBytes)
      let now = monotonicSeconds()
      latencies.add(seconds: now - before)
      before = now
      if now >= end { break }
    }
  }

  private struct Slot {
    var position: UInt64 = 0
    var received = 0
    var before = 0.0
  }

  /// One thread and epoll, as servers and proxies do with many.
  private static func echoOnMany(
    _ plan: ClientPlan, _ shared: SharedPattern, _ latencies: inout Latencies
  ) throws(SupportError) {
    let events = try EventSet()
    var slots: [Int32: Slot] = [:]
    defer { for descriptor in slots.keys { close(descriptor) } }
    for _ in 0..<plan.concurrency {
      let descriptor = try plan.endpoint.connected()
      slots[descriptor] = Slot()
      disableDelay(descriptor)
      try events.add(descriptor, EPOLLIN)
      try sendWhole(descriptor, echoHeader(plan, .echoInLoop))
    }
    let end = monotonicSeconds() + (plan.seconds ?? .infinity)
    var left = plan.seconds == nil ? plan.count : .max
    func request(_ descriptor: Int32, _ slot: inout Slot) throws(SupportError) {
      slot.before = monotonicSeconds()
      slot.received = 0
      let bytes = shared.pattern.bytes(at: slot.position, count: plan.chunkBytes)
      guard send(descriptor, bytes.baseAddress, bytes.count, Int32(MSG_NOSIGNAL)) == bytes.count else {
        throw SupportError.systemCall("send", "a request")
      }
    }
    for descriptor in slots.keys { try request(descriptor, &slots[descriptor, default: Slot()]) }
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: plan.chunkBytes, alignment: 64)
    defer { buffer.deallocate() }
    var open = slots.count
    while open > 0 {
      let ready = try events.wait(milliseconds: 10_000) { descriptor throws(SupportError) in
        guard var slot = slots[descriptor] else { return }
        let count = recv(descriptor, buffer.baseAddress, plan.chunkBytes - slot.received, Int32(MSG_DONTWAIT))
        if count < 0 && errno == EAGAIN { return }
        guard count > 0 else { throw SupportError.systemCall("recv", "an answer") }
        let part = UnsafeRawBufferPointer(rebasing: buffer[..<count])
        guard shared.pattern.firstMismatch(part, at: slot.position + UInt64(slot.received)) == nil else {
          throw SupportError("wrong answer at byte \(slot.position)")
        }
        slot.received += count
        if slot.received == plan.chunkBytes {
          let now = monotonicSeconds()
          latencies.add(seconds: now - slot.before)
          slot.position += UInt64(plan.chunkBytes)
          left -= 1
          if now < end && left >= slots.count { try request(descriptor, &slot) } else { open -= 1 }
        }
        slots[descriptor] = slot
      }
      guard ready > 0 else { throw SupportError("no answer within 10 s") }
    }
  }

  /// Sends a few bytes on a descriptor whose buffer is empty.
  static func sendWhole(_ descriptor: Int32, _ bytes: [UInt8]) throws(SupportError) {
    guard send(descriptor, bytes, bytes.count, Int32(MSG_NOSIGNAL)) == bytes.count else {
      throw SupportError.systemCall("send", "a header")
    }
  }

  private static func disableDelay(_ descriptor: Int32) {
    var on: Int32 = 1
    setsockopt(descriptor, Int32(IPPROTO_TCP), TCP_NODELAY, &on, socklen_t(MemoryLayout<Int32>.size))
  }
}
