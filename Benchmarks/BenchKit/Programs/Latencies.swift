/// How long single requests, or connections, took.
public struct Latency: Codable, Sendable {
  public let count: Int
  public let medianMicroseconds: Double
  public let p99Microseconds: Double
  public let p999Microseconds: Double
}

/// Collects durations while something is measured; sorting waits until the end.
struct Latencies: Sendable {
  private var nanoseconds: [UInt32] = []

  init() { nanoseconds.reserveCapacity(1 << 16) }

  /// - Parameter seconds: capped at 4.2 s, where 32 bits end.
  mutating func add(seconds: Double) { nanoseconds.append(UInt32(min(max(0, seconds) * 1e9, 4.2e9))) }

  mutating func merge(_ other: Latencies) { nanoseconds += other.nanoseconds }

  /// nil of nothing. A percentile is the least value that so many of all do not exceed (nearest rank).
  var summary: Latency? {
    guard !nanoseconds.isEmpty else { return nil }
    let sorted = nanoseconds.sorted()
    func percentile(_ share: Double) -> Double {
      let rank = Int((share * Double(sorted.count)).rounded(.up))
      return Double(sorted[min(max(rank, 1), sorted.count) - 1]) / 1000
    }
    return Latency(
      count: sorted.count, medianMicroseconds: percentile(0.5), p99Microseconds: percentile(0.99),
      p999Microseconds: percentile(0.999))
  }
}
