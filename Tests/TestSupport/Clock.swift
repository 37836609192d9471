internal import Glibc

/// Seconds of CLOCK_MONOTONIC (clock_gettime(2)): only differences mean anything.
public func monotonicSeconds() -> Double {
  var time = timespec()
  clock_gettime(CLOCK_MONOTONIC, &time)
  return Double(time.tv_sec) + Double(time.tv_nsec) * 1e-9
}

/// A bound on how long something may take, which a machine that stands still meanwhile (a virtual one that is paused for
/// seconds while its clock goes on) does not use up.
struct Patience {
  /// What one step takes of it at most.
  private static let mostOfAStep = 2.0

  private(set) var left: Double
  private var before = monotonicSeconds()

  init(seconds: Double) { left = seconds }

  /// Takes off what has passed since the last step.
  mutating func step() {
    let now = monotonicSeconds()
    left -= min(now - before, Patience.mostOfAStep)
    before = now
  }
}

/// Polls `condition` until it holds. Not a way to let time pass: it is for facts that no descriptor announces.
/// - Parameters:
///   - what: names the condition in the error.
///   - seconds: the bound.
/// - Throws: `SupportError` when the bound passed, or what `condition` throws.
public func waitUntil(_ what: String, seconds: Double, _ condition: () throws -> Bool) throws {
  var patience = Patience(seconds: seconds)
  var pauseMicroseconds: UInt32 = 200
  while try !condition() {
    patience.step()
    guard patience.left > 0 else { throw SupportError("not within \(seconds) s: \(what)") }
    usleep(pauseMicroseconds)
    pauseMicroseconds = min(pauseMicroseconds * 2, 10_000)
  }
}
