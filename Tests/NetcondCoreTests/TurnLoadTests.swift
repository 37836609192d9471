@testable import NetcondCore
import Testing

@Suite("the daemon's load") struct TurnLoadTests {
  /// Turns at `microseconds` from each other, with `completions` each; whether the last one found the daemon busy.
  private func isBusy(
    _ load: inout TurnLoad, _ now: inout UInt64, _ total: inout UInt64, turns: Int, every microseconds: UInt64,
    completions: UInt64
  ) -> Bool {
    for _ in 0..<turns {
      now += microseconds * 1000
      load.noteTurn(completions: total, now: now)
      total += completions
    }
    return load.isBusy
  }

  @Test func `many completions in a millisecond are much to do, and a rest ends it`() {
    var load = TurnLoad()
    var (now, total): (UInt64, UInt64) = (77_000_000_000, 1000)
    #expect(!isBusy(&load, &now, &total, turns: 1, every: 50, completions: 20))
    #expect(isBusy(&load, &now, &total, turns: 100, every: 50, completions: 4))
    #expect(!isBusy(&load, &now, &total, turns: 1, every: 20_000, completions: 1))
    #expect(!isBusy(&load, &now, &total, turns: 1000, every: 50, completions: 1))
  }
}
