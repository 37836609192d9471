internal import CLwip
internal import Glibc

/// The round-trip time of a connection as TCP_INFO tells it. lwIP's own estimate, by which it retransmits, has the
/// resolution of its timer (50 ms).
struct RoundTrip {
  /// A byte under way: what acknowledges it ends the sample.
  private var end: UInt32 = 0
  private var startNanoseconds: UInt64 = 0
  /// Smoothed (RFC 6298 section 2), its deviation, and the least; microseconds, 0 until measured.
  private(set) var smoothed: UInt32 = 0
  private(set) var deviation: UInt32 = 0
  private(set) var least: UInt32 = 0

  private static var now: UInt64 {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
  }

  /// Something was sent; its last byte is before `next`. One byte at a time is watched.
  mutating func sent(before next: UInt32) {
    guard startNanoseconds == 0 else { return }
    end = next
    startNanoseconds = Self.now
  }

  /// All before `next` is acknowledged. A byte that was sent again tells nothing (Karn).
  mutating func acknowledged(before next: UInt32, isRetransmitting: Bool) {
    guard startNanoseconds != 0, isRetransmitting || Int32(bitPattern: next &- end) >= 0 else { return }
    let sample = UInt32(clamping: max(1, (Self.now - startNanoseconds) / 1000))
    startNanoseconds = 0
    guard !isRetransmitting else { return }
    least = least == 0 ? sample : min(least, sample)
    if smoothed == 0 {
      (smoothed, deviation) = (sample, sample / 2)
    } else {
      let error = sample > smoothed ? sample - smoothed : smoothed - sample
      deviation = deviation / 4 * 3 + error / 4
      smoothed = smoothed / 8 * 7 + sample / 8
    }
  }
}
