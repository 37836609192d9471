internal import CEpoll
internal import Glibc
internal import TestSupport

extension Client {
  /// Makes `count` connections, each answered once, then keeps them until the process is ended.
  /// - Parameter onReady: told how many there are.
  static func idle(_ plan: ClientPlan, onReady: (Int) throws -> Void) throws -> Never {
    raiseDescriptorLimit()
    let events = try EventSet()
    var header = RequestHeader(.idle)
    header.seed = plan.seed
    let encoded = header.encoded
    var started = 0
    var made = 0
    var isSent: Set<Int32> = []
    while made < plan.count {
      // As many under way as a listener's backlog surely holds.
      while started < plan.count && started - made < 256 {
        let source = plan.sources.isEmpty ? nil : plan.sources[started % plan.sources.count]
        try events.add(try plan.endpoint.connecting(from: source), EPOLLOUT)
        started += 1
      }
      let ready = try events.wait(milliseconds: 20_000) { descriptor throws(SupportError) in
        if isSent.insert(descriptor).inserted {
          try Endpoint.finishConnecting(descriptor)
          try sendWhole(descriptor, encoded)
          return try events.change(descriptor, EPOLLIN)
        }
        var byte: UInt8 = 0
        guard recv(descriptor, &byte, 1, 0) == 1, byte == UInt8(truncatingIfNeeded: plan.seed) else {
          throw SupportError.systemCall("recv", "the answer on idle connection \(made)")
        }
        try events.change(descriptor, EPOLL_EVENTS(rawValue: 0))
        isSent.remove(descriptor)
        made += 1
      }
      guard ready > 0 else { throw SupportError("only \(made) of \(plan.count) connections within 20 s") }
    }
    try onReady(made)
    while true { pause() }
  }
}
