internal import Glibc

/// The daemon's scheduling priority, which follows what it does.
///
/// Where programs share its CPU and wait for one answer after the other, each message wakes one more process, and the CPU goes
/// round: whether the daemon runs at once or behind those it serves is a tenth of a round trip. So while its turns carry single
/// small messages it asks to run before the others (setpriority(2)); they lose nothing, as they wait for it. With many messages in a
/// turn, or with bulk, it has its share only: it would otherwise take the CPU from programs that have enough to do. Who may
/// not raise its priority (CAP_SYS_NICE, RLIMIT_NICE) stays as it is.
struct TurnPriority {
  private static let windowNanoseconds: UInt64 = 16_000_000
  /// Fewer turns in a window say nothing.
  private static let leastTurns: UInt64 = 16
  private static let quietWindowsNeeded = 3
  private static let raise: Int32 = 10
  private static let process = __priority_which_t(PRIO_PROCESS.rawValue)

  private let base: Int32
  private(set) var isRaised = false
  private var mayRaise: Bool
  private var windowStart: UInt64 = 0
  private var turns: UInt64 = 0
  private var completionsBefore: UInt64 = 0
  private var quietWindows = 0

  /// - Parameter isWanted: false keeps the priority as it is, for a daemon that never sleeps.
  init(isWanted: Bool) {
    base = getpriority(Self.process, 0)
    mayRaise = isWanted
  }

  /// One turn is over.
  /// - Parameters:
  ///   - completions: how many there were since the start.
  ///   - isBulk: whether any connection moves much.
  mutating func noteTurn(completions: UInt64, isBulk: Bool, now: UInt64) {
    guard mayRaise else { return }
    turns += 1
    guard now >= windowStart + Self.windowNanoseconds else { return }
    if turns >= Self.leastTurns {
      let isQuiet = !isBulk && 2 * (completions - completionsBefore) < 3 * turns
      quietWindows = isQuiet ? quietWindows + 1 : 0
      set(isRaised: quietWindows >= Self.quietWindowsNeeded)
    }
    windowStart = now
    turns = 0
    completionsBefore = completions
  }

  private mutating func set(isRaised wanted: Bool) {
    guard wanted != isRaised else { return }
    if setpriority(Self.process, 0, wanted ? base - Self.raise : base) == 0 {
      isRaised = wanted
    } else {
      mayRaise = false
    }
  }
}
