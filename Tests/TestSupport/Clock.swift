internal import Glibc

/// Seconds of CLOCK_MONOTONIC (clock_gettime(2)): only differences mean anything.
public func monotonicSeconds() -> Double {
  var time = timespec()
  clock_gettime(CLOCK_MONOTONIC, &time)
  return Double(time.tv_sec) + Double(time.tv_nsec) * 1e-9
}

/// Polls `condition` until it holds. Not a way to let time pass: it is for facts that no descriptor announces.
/// - Parameters:
///   - what: names the condition in the error.
///   - seconds: the bound.
/// - Throws: `SupportError` when the bound passed, or what `condition` throws.
public func waitUntil(_ what: String, seconds: Double, _ condition: () throws -> Bool) throws {
  let deadline = monotonicSeconds() + seconds
  var pauseMicroseconds: UInt32 = 200
  while try !condition() {
    guard monotonicSeconds() < deadline else { throw SupportError("not within \(seconds) s: \(what)") }
    usleep(pauseMicroseconds)
    pauseMicroseconds = min(pauseMicroseconds * 2, 10_000)
  }
}
