internal import Glibc
internal import TestSupport

/// Runs the scenarios: in each round every series once, forwards and then backwards, so that what drifts while the run
/// lasts falls on all alike. After the rounds that try all places, each contender goes on in those that may be its best.
final class Runner {
  private struct Entry {
    let scenario: any Scenario
    var result: ScenarioResult
  }

  /// A contender that failed so often in a scenario is not measured there again: each may have waited for its bound.
  private static let mostFailures = 2

  private let settings: BenchReport.Settings
  private let binaries: Binaries
  private let stages: Stages
  private var entries: [Entry]
  private let start = monotonicSeconds()
  private var measured = 0

  /// - Parameter pin: which places are tried.
  init(
    _ scenarios: [any Scenario], _ settings: BenchReport.Settings, _ binaries: Binaries, pin: Placement.Choice
  ) throws {
    self.settings = settings
    self.binaries = binaries
    stages = Stages(binaries)
    let cpus = try Processors.allowed()
    entries = scenarios.map { scenario in
      let choice = pin == .both ? scenario.places : pin
      let series = scenario.contenders.filter(Runner.isInstalled).flatMap { contender in
        // A daemon that polls has a CPU that one of the programs has to share.
        Placement.all(choice, cpus: cpus, hasHelper: contender.hasHelper).filter {
          contender != .netcondBusyPoll || $0.hasEndsApart
        }.map {
          Series(contender: contender, label: scenario.wiring.label(contender), placement: $0)
        }
      }
      return Entry(
        scenario: scenario,
        result: ScenarioResult(name: scenario.name, group: scenario.group, metrics: scenario.metrics, series: series))
    }
  }

  /// Whether a contender's program is there: the translators are measured where they are installed.
  static func isInstalled(_ contender: Contender) -> Bool {
    switch contender {
    case .pasta, .slirp4netns: Requirements.hasProgram(contender.rawValue)
    default: true
    }
  }

  var results: [ScenarioResult] { entries.map(\.result) }
  var daemonLog: [String] { stages.daemonLog }

  /// How many measurements there will be, and about how many seconds they take.
  private var plan: (measurements: Int, seconds: Double) {
    var plan = (measurements: 0, seconds: 0.0)
    for entry in entries {
      let rounds = rounds(of: entry.scenario)
      let ofAllPlaces = min(rounds, roundsOfAllPlaces(of: entry.scenario))
      // About one and a half places of each contender stay hopeful.
      let contenders = Set(entry.result.series.map(\.contender)).count
      let later = min(entry.result.series.count, contenders * 3 / 2)
      let count = ofAllPlaces * entry.result.series.count + (rounds - ofAllPlaces) * later
      plan.measurements += count
      // Starting a server and a client takes its time, too.
      let turn = max(settings.seconds, entry.scenario.leastSeconds) + 0.4
      plan.seconds += Double(count * entry.scenario.turns) * turn
    }
    return plan
  }

  private func rounds(of scenario: any Scenario) -> Int {
    min(settings.rounds, scenario.mostRounds, scenario.hasTarget ? .max : settings.roundsWithoutTarget)
  }

  /// One bad moment of the machine must not decide where a contender goes on, where it matters.
  private func roundsOfAllPlaces(of scenario: any Scenario) -> Int {
    scenario.hasTarget ? settings.roundsOfAllPlaces : 1
  }

  func run() {
    let (measurements, seconds) = plan
    Progress.note(
      "\(entries.count) scenarios in \(settings.roundsText): "
        + "about \(measurements) measurements, \(Int((seconds / 60).rounded(.up))) minutes")
    for round in 0..<settings.rounds {
      let order = round % 2 == 0 ? Array(entries.indices) : entries.indices.reversed()
      for (done, index) in order.enumerated() where round < rounds(of: entries[index].scenario) {
        progress(round, done, entries[index].scenario)
        let series = wanted(index, round)
        for one in round % 2 == 0 ? series : series.reversed() { measure(index, one) }
      }
    }
    Progress.end()
  }

  /// The series of a scenario that this round measures.
  private func wanted(_ index: Int, _ round: Int) -> [Int] {
    let result = entries[index].result
    guard round >= roundsOfAllPlaces(of: entries[index].scenario) else { return Array(result.series.indices) }
    let isComparedApart = entries[index].scenario.isComparedApart
    let chosen = Dictionary(
      uniqueKeysWithValues: Contender.allCases.map { contender in
        let apart = isComparedApart ? result.hopeful(contender, where: \.hasEndsApart) : []
        return (contender, Set(result.hopeful(contender) + apart))
      })
    return result.series.indices.filter { index in
      let series = result.series[index]
      return chosen[series.contender]?.contains(series.placement) ?? false
    }
  }

  private func measure(_ index: Int, _ number: Int) {
    let scenario = entries[index].scenario
    let series = entries[index].result.series[number]
    guard entries[index].result.failures(series.contender) < Runner.mostFailures else { return }
    do {
      let trial = Trial(
        binaries: binaries, stage: try stages.stage(scenario.wiring, series.contender), placement: series.placement,
        seconds: max(settings.seconds, scenario.leastSeconds), number: measured)
      measured += 1
      entries[index].result.series[number].samples.append(try scenario.measure(trial))
    } catch {
      entries[index].result.series[number].problems.append("\(error)")
      stages.discard(scenario.wiring, series.contender)
    }
  }

  private func progress(_ round: Int, _ done: Int, _ scenario: any Scenario) {
    let places = round < roundsOfAllPlaces(of: scenario) ? "all places" : "the best places"
    Progress.show(
      "round \(round + 1)/\(settings.rounds), \(places), \(done + 1)/\(entries.count), "
        + "\(Int(monotonicSeconds() - start)) s: \(scenario.name)")
  }
}

/// Progress goes to stderr: stdout is the result. On a terminal one line is rewritten.
enum Progress {
  private static let isTerminal = isatty(2) == 1

  static func show(_ text: String) {
    emit(isTerminal ? "\r\u{1b}[Knetcond-bench: \(text)" : "netcond-bench: \(text)\n")
  }

  static func note(_ text: String) { emit("netcond-bench: \(text)\n") }

  static func end() { if isTerminal { emit("\r\u{1b}[K") } }

  private static func emit(_ text: String) {
    let bytes = Array(text.utf8)
    _ = write(2, bytes, bytes.count)
  }
}
