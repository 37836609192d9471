import Glibc
@testable import NetcondCore
import Testing

/// setpriority(2) is of one thread on Linux, so of the test's own.
@Suite("the daemon's scheduling priority") struct TurnPriorityTests {
  private static let process = __priority_which_t(PRIO_PROCESS.rawValue)

  /// Turns of 0.1 ms each.
  private struct Daemon {
    var priority: TurnPriority
    var now: UInt64 = 1_000_000_000
    var completions: UInt64 = 0

    mutating func run(turns: Int, completionsEach: UInt64, isBulk: Bool = false) {
      for _ in 0..<turns {
        now += 100_000
        completions += completionsEach
        priority.noteTurn(completions: completions, isBulk: isBulk, now: now)
      }
    }
  }

  @Test(
    "is raised while single messages go back and forth, and as it was else",
    .enabled(if: geteuid() == 0, "needs root"))
  func follows() {
    let before = getpriority(Self.process, 0)
    var daemon = Daemon(priority: TurnPriority(isWanted: true))
    daemon.run(turns: 400, completionsEach: 5)
    #expect(getpriority(Self.process, 0) == before)
    daemon.run(turns: 1000, completionsEach: 1)
    #expect(daemon.priority.isRaised)
    #expect(getpriority(Self.process, 0) == max(-20, before - 10))
    daemon.run(turns: 400, completionsEach: 1, isBulk: true)
    #expect(getpriority(Self.process, 0) == before)
    daemon.run(turns: 1000, completionsEach: 1)
    #expect(daemon.priority.isRaised)
    daemon.run(turns: 400, completionsEach: 2)
    #expect(!daemon.priority.isRaised)
    #expect(getpriority(Self.process, 0) == before)
  }

  @Test("few turns say nothing, and a daemon that never sleeps keeps its priority")
  func keeps() {
    let before = getpriority(Self.process, 0)
    var seldom = Daemon(priority: TurnPriority(isWanted: true))
    for _ in 0..<100 {
      seldom.now += 16_000_000
      seldom.run(turns: 1, completionsEach: 1)
    }
    #expect(!seldom.priority.isRaised)
    var polling = Daemon(priority: TurnPriority(isWanted: false))
    polling.run(turns: 2000, completionsEach: 1)
    #expect(!polling.priority.isRaised)
    #expect(getpriority(Self.process, 0) == before)
  }
}
