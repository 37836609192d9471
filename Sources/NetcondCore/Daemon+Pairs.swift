internal import Glibc
internal import Logging

/// Pairs of sockets come and go here, within what descriptors there are.
extension Daemon {
  /// Says that descriptors have run out, at most once a second.
  func reportExhaustion(_ what: String) {
    guard now >= lastExhaustionReport + 1_000_000_000 || lastExhaustionReport == 0 else { return }
    lastExhaustionReport = now
    log.error("\(what): no descriptor is left; raise RLIMIT_NOFILE (now \(options.descriptorLimit))")
  }

  /// Makes a pair for a socket; nil, and it is reported, where no descriptor is left for `what`.
  func makePair(
    type: Int32, for what: @autoclosure () -> String
  ) -> (daemon: Int32, app: Int32, cookie: UInt64)? {
    for isLast in [false, true] {
      let pair = Pair.make(type: type)
      if pair.daemon >= 0, !isReserved(pair.app), let cookie = Pair.cookie(pair.app) {
        return (pair.daemon, pair.app, cookie)
      }
      if pair.daemon >= 0 { Pair.close(pair) }
      if isLast || endedPairs.isEmpty { break }
      closeEndedPairs()
    }
    reportExhaustion(what())
    count(\.refusals)
    return nil
  }

  /// Closes the daemon's end of a pair at the end of the turn: while descriptors are in flight anywhere, such as those made
  /// ahead, each close has the kernel start its garbage collector (unix_gc), but for closes one after another it does so once.
  func closePair(_ fd: Int32) {
    endedPairs.append(fd)
    if endedPairs.count >= Self.mostEndedPairs { closeEndedPairs() }
  }

  private static let mostEndedPairs = 64

  func closeEndedPairs() {
    guard !endedPairs.isEmpty else { return }
    for fd in endedPairs { close(fd) }
    endedPairs.removeAll(keepingCapacity: true)
  }

  /// Descriptors that stay free of sockets, so that the requests about existing ones can still be received.
  func isReserved(_ descriptor: Int32) -> Bool { Int(descriptor) >= options.descriptorLimit - 16 }
}
