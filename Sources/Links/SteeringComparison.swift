/// Whether one stream arrives faster with its frames steered to other CPUs, found by trying.
///
/// Theory of operation: what arrives in a few periods is counted as things are, then for as long the other way; the better one
/// stays (of two that are alike, the former), and is asked again after a rest, which is longer each time that it stands. A period
/// after a change counts for neither. What was found holds for the streams to come: it depends on the machine more than on the stream.
struct SteeringComparison {
  /// Periods that are counted of each way.
  static let length = 3
  /// Periods until it is asked again.
  static let leastRest = 64
  static let mostRest = 1024

  private enum Phase { case first, other, rest }

  private var prefersSteering = false
  private var phase = Phase.first
  /// Periods of the phase so far, and what arrived in those that count.
  private var periods = 0
  private var firstBytes: UInt64 = 0
  private var otherBytes: UInt64 = 0
  private var rest = leastRest

  /// Whether frames are to be steered in the period to come.
  var isSteering: Bool { (phase == .other) != prefersSteering }

  /// A period is over, in which `bytes` arrived.
  mutating func note(_ bytes: UInt64) {
    periods += 1
    switch phase {
    case .first:
      if periods > 1 { firstBytes += bytes }
      if periods > Self.length { enter(.other) }
    case .other:
      if periods > 1 { otherBytes += bytes }
      if periods > Self.length { decide() }
    case .rest:
      if periods >= rest { enter(.first) }
    }
  }

  /// The stream is over, or no longer alone: what was counted is worth nothing.
  mutating func interrupt() {
    if phase != .rest { enter(.first) }
  }

  private mutating func decide() {
    let isBetter = otherBytes > firstBytes + firstBytes / 32
    if isBetter { prefersSteering.toggle() }
    rest = isBetter ? Self.leastRest : min(2 * rest, Self.mostRest)
    enter(.rest)
  }

  private mutating func enter(_ next: Phase) {
    (phase, periods) = (next, 0)
    if next == .first { (firstBytes, otherBytes) = (0, 0) }
  }
}
