internal import LwipGlue
internal import UringLoop

/// When the loop's sleep lets frames gather, as a network card's interrupt moderation does.
///
/// Theory of operation: a loop that has caught up with its sender is woken by each frame. That costs the sender more than the frame
/// itself, as it is its CPU that wakes ours, and the app on the daemon's CPU is interrupted for each. While much is received, and nothing
/// but that goes on, a sleep therefore lasts 50 µs at least: two frames of 64 KiB at 20 Gbit/s, which are acknowledged together
/// anyway (`Stack+Acknowledgements`). Measured with Linux's own sender in another namespace, writes of 64 KiB, one stream: 15.3 -> 19.4
/// Gbit/s, its CPU 0.37 -> 0.34 s/GB, the daemon's 0.22 -> 0.18; 30 and 60 µs are as good, 90 µs leave its window empty.
struct Gathering {
  static let microseconds: UInt32 = 50
  /// So long after an app has asked for something it may wait for an answer, which must not wait.
  private static let quietNanoseconds: UInt64 = 1_000_000

  private var quietEnd: UInt64 = 0

  /// Takes note of a completion: whether an app has sent something, or asked.
  mutating func note(_ token: Token, result: Int32, now: UInt64) {
    let isApp =
      switch token.kind {
      case Daemon.Kind.socket:
        token.operation == Daemon.Operation.receive || token.operation == Daemon.Operation.readable
      case Daemon.Kind.client, Daemon.Kind.datagram: true
      default: false
      }
    if isApp, result > 0 { quietEnd = now + Self.quietNanoseconds }
  }

  /// How long the next sleep lasts at least, in microseconds.
  func least(_ bulk: (receivers: Int, senders: Int), now: UInt64) -> UInt32 {
    bulk.receivers > 0 && bulk.senders == 0 && now >= quietEnd ? Self.microseconds : 0
  }
}
