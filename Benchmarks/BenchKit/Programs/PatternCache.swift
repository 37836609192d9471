internal import Synchronization

/// A pattern that threads share.
final class SharedPattern: Sendable {
  let pattern: Pattern
  init(seed: UInt64, windowBytes: Int) { pattern = Pattern(seed: seed, windowBytes: windowBytes) }
}

/// One table for all streams of a seed: 64 tables of their own would not fit the cache, and be measured with the rest.
enum PatternCache {
  private struct Key: Hashable {
    let seed: UInt64
    let windowBytes: Int
  }

  /// Few seeds and sizes occur in one process; more are not kept.
  private static let limit = 16
  private static let known = Mutex<[Key: SharedPattern]>([:])

  static func pattern(seed: UInt64, windowBytes: Int) -> SharedPattern {
    let key = Key(seed: seed, windowBytes: windowBytes)
    return known.withLock { known in
      if let pattern = known[key] { return pattern }
      let pattern = SharedPattern(seed: seed, windowBytes: windowBytes)
      if known.count < limit { known[key] = pattern }
      return pattern
    }
  }
}
