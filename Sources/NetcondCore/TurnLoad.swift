/// Whether the daemon has much to do, by the completions of a millisecond: what can wait a little for company then should
/// (`Stack.isBusy`).
///
/// A connection with a request and an answer takes about nine of them: 32 in a millisecond are 3,500 such connections in a second, and
/// one that comes after a rest is none of many, whatever the turn before had to do.
struct TurnLoad {
  private static let windowNanoseconds: UInt64 = 1_000_000
  private static let busyCompletions: UInt64 = 32

  private(set) var isBusy = false
  private var windowStart: UInt64 = 0
  private var completionsBefore: UInt64 = 0

  /// A turn begins.
  /// - Parameters:
  ///   - completions: how many there were since the start.
  ///   - now: nanoseconds.
  mutating func noteTurn(completions: UInt64, now: UInt64) {
    let elapsed = now - windowStart
    guard elapsed >= Self.windowNanoseconds else { return }
    isBusy = (completions - completionsBefore) * Self.windowNanoseconds >= Self.busyCompletions * elapsed
    windowStart = now
    completionsBefore = completions
  }
}
