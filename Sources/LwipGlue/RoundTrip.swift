/// The round-trip time of a connection (RFC 6298 section 2) in microseconds, 0 until measured.
struct RoundTrip {
  private(set) var smoothed: UInt32 = 0
  private(set) var deviation: UInt32 = 0
  private(set) var least: UInt32 = 0
  /// A byte under way: what acknowledges it ends the sample.
  private var end: UInt32 = 0
  private var start: UInt64 = 0

  /// Something was sent at `now`; its last byte is before `next`. One byte at a time is watched.
  mutating func sent(before next: UInt32, now: UInt64) {
    guard start == 0 else { return }
    end = next
    start = now
  }

  /// All before `next` is acknowledged. A byte that was sent again tells nothing (Karn).
  mutating func acknowledged(before next: UInt32, now: UInt64, isRetransmitting: Bool) {
    guard start != 0, isRetransmitting || Int32(bitPattern: next &- end) >= 0 else { return }
    let sample = now - start
    start = 0
    if !isRetransmitting { add(UInt32(clamping: sample)) }
  }

  mutating func add(_ sample: UInt32) {
    let sample = max(1, sample)
    least = least == 0 ? sample : min(least, sample)
    if smoothed == 0 {
      (smoothed, deviation) = (sample, sample / 2)
    } else {
      let error = UInt64(sample > smoothed ? sample - smoothed : smoothed - sample)
      deviation = UInt32((3 * UInt64(deviation) + error) / 4)
      smoothed = UInt32((7 * UInt64(smoothed) + UInt64(sample)) / 8)
    }
  }
}
