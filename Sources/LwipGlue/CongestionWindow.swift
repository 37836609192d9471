internal import Glibc

/// How much one connection may have in flight: CUBIC (RFC 9438), begun by slow start that leaves off when the round trips
/// grow (HyStart++, RFC 9406). Bytes and microseconds.
///
/// Slow start without that would go on until it loses segments: on a path of 40 ms whose queue holds a round trip, half of
/// a window of megabytes at once. The threshold of 4 ms keeps it from leaving off on a fast path, where a queue of one
/// window lasts less.
struct CongestionWindow {
  private static let decrease = 0.7
  private static let scale = 0.4
  /// What makes CUBIC no less than Reno: 3 (1 - β) / (1 + β).
  private static let additive = 3 * (1 - decrease) / (1 + decrease)
  private static let samplesPerRound = 8
  private static let conservativeRounds = 5
  static let initialSegments = 10  // RFC 6928
  private static let most = 1 << 30

  private(set) var bytes: Int
  private(set) var threshold = Int.max
  private var lastMaximum = 0.0
  private var epoch: UInt64 = 0
  private var inflection = 0.0  // seconds: K
  private var plateau = 0.0
  private var additiveWindow = 0.0
  /// HyStart++: the round that runs ends when this is acknowledged.
  private var roundEnd: UInt32 = 0
  private var roundLeast = UInt32.max
  private var lastRoundLeast = UInt32.max
  private var sampleCount = 0
  private var conservativeLeast: UInt32 = 0
  private var conservativeRoundsLeft = 0
  private var before: (bytes: Int, threshold: Int, lastMaximum: Double)?

  init(segmentBytes: Int) { bytes = Self.initialSegments * segmentBytes }

  private var isSlowStart: Bool { bytes < threshold }

  /// New data was acknowledged while the window was what held the sender back.
  mutating func grow(acknowledged: Int, segmentBytes: Int, now: UInt64, roundTrip: UInt32) {
    if isSlowStart {
      bytes = min(Self.most, bytes + (conservativeRoundsLeft > 0 ? acknowledged / 4 : acknowledged))
      return
    }
    let segment = Double(segmentBytes)
    let window = Double(bytes)
    if epoch == 0 {
      epoch = now
      additiveWindow = window
      inflection = lastMaximum > window ? cbrt((lastMaximum - window) / segment / Self.scale) : 0
      plateau = max(lastMaximum, window)
    }
    let time = Double(now - epoch) / 1e6
    let alpha = additiveWindow < lastMaximum ? Self.additive : 1
    additiveWindow += alpha * segment * Double(acknowledged) / window
    func cubic(_ t: Double) -> Double { plateau + Self.scale * segment * pow(t - inflection, 3) }
    if cubic(time) < additiveWindow {
      bytes = max(bytes, Int(additiveWindow))
    } else {
      let target = min(max(cubic(time + Double(roundTrip) / 1e6), window), 1.5 * window)
      residue += (target - window) / window * Double(acknowledged)
      bytes += Int(residue)
      residue -= residue.rounded(.towardZero)
    }
    bytes = min(Self.most, bytes)
  }

  private var residue = 0.0

  /// Nothing was in flight for a while. That is no time in which the window could have been used; and what the path carried
  /// before says less the longer it is ago: half for each time-out (RFC 2861, as Linux).
  mutating func rest(microseconds: UInt64, timeout: UInt64, segmentBytes: Int) {
    if epoch != 0 { epoch += microseconds }
    let initial = Self.initialSegments * segmentBytes
    guard microseconds >= timeout, bytes > initial else { return }
    if threshold != .max { threshold = max(threshold, bytes / 4 * 3) }
    bytes = max(initial, bytes >> Int(min(microseconds / timeout, 30)))
  }

  /// A round trip was measured; `next` is the next sequence number to be sent.
  mutating func measure(roundTrip: UInt32, acknowledged: UInt32, next: UInt32) {
    guard isSlowStart else { return }
    if Int32(bitPattern: acknowledged &- roundEnd) >= 0 {
      lastRoundLeast = roundLeast
      roundLeast = .max
      sampleCount = 0
      roundEnd = next
      if conservativeRoundsLeft > 0 {
        conservativeRoundsLeft -= 1
        if conservativeRoundsLeft == 0 { threshold = bytes }
      }
    }
    roundLeast = min(roundLeast, roundTrip)
    sampleCount += 1
    guard sampleCount >= Self.samplesPerRound, lastRoundLeast != .max else { return }
    if conservativeRoundsLeft > 0 {
      if roundLeast < conservativeLeast { conservativeRoundsLeft = 0 }  // it was no queue
    } else if roundLeast >= lastRoundLeast + min(max(lastRoundLeast / 8, 4000), 16_000) {
      conservativeLeast = roundLeast
      conservativeRoundsLeft = Self.conservativeRounds
    }
  }

  /// The beginning of the sequence numbers: the first round ends with the first acknowledgement.
  mutating func begin(at sequence: UInt32) { roundEnd = sequence }

  /// Something was lost: the window is to come down to `threshold`.
  mutating func reduce(segmentBytes: Int) {
    before = (bytes, threshold, lastMaximum)
    let window = Double(bytes)
    lastMaximum = window < lastMaximum ? window * (1 + Self.decrease) / 2 : window  // RFC 9438 section 4.7
    threshold = max(2 * segmentBytes, Int(window * Self.decrease))
    epoch = 0
    conservativeRoundsLeft = 0
  }

  /// Where the window is now, for a while (proportional rate reduction, or one segment after a time-out).
  mutating func set(_ bytes: Int) { self.bytes = bytes }

  /// The last reduction was for nothing.
  mutating func restore() {
    guard let before else { return }
    self.before = nil
    bytes = max(bytes, before.bytes)
    threshold = before.threshold
    lastMaximum = before.lastMaximum
    epoch = 0
  }
}
