internal import FoundationEssentials

/// Order statistics of repeated measurements.
enum Statistics {
  /// The middle value, or the mean of the two middle ones; nil of none.
  static func median(_ values: [Double]) -> Double? {
    let sorted = values.sorted()
    guard !sorted.isEmpty else { return nil }
    let middle = sorted.count / 2
    return sorted.count % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
  }
}

/// All measurements of one scenario, contender and place.
struct Series: Codable, Sendable {
  let contender: Contender
  let label: String
  let placement: Placement
  var samples: [Sample] = []
  /// What failed, if anything did.
  var problems: [String] = []

  func values(_ metric: Metric) -> [Double] { samples.compactMap { $0[metric] } }
  func median(_ metric: Metric) -> Double? { Statistics.median(values(metric)) }
}

/// What a scenario gave.
struct ScenarioResult: Codable, Sendable {
  let name: String
  let group: String
  let metrics: [Metric]
  var series: [Series]

  var quoted: Metric { metrics[0] }

  /// The series of a contender's best place, chosen alike for all: by the quoted metric's median. Places that most rounds
  /// left out are none: one good sample is no median.
  func best(_ contender: Contender, where isWanted: (Placement) -> Bool = { _ in true }) -> Series? {
    let known = series.filter { $0.contender == contender && isWanted($0.placement) }
    let most = known.map(\.samples.count).max() ?? 0
    return ScenarioResult.ordered(known.filter { $0.samples.count * 2 > most }, by: quoted).first
  }

  /// Those with figures, the best median first.
  private static func ordered(_ series: [Series], by metric: Metric) -> [Series] {
    series.compactMap { one in one.median(metric).map { (one, $0) } }
      .sorted { metric.isLessBetter ? $0.1 < $1.1 : $0.1 > $1.1 }.map(\.0)
  }

  /// What a place's best sample must reach of the contender's best median for the place to be tried again: machines of
  /// this kind change their speed by as much from one minute to the next, and one bad sample must not rule a place out.
  private static let hopefulShare = 0.7
  /// How many places of a contender are tried again.
  private static let hopefulPlaces = 2

  /// The places of a contender that may turn out to be its best, the likeliest first; none where nothing worked.
  func hopeful(_ contender: Contender, where isWanted: (Placement) -> Bool = { _ in true }) -> [Placement] {
    let known = series.filter { $0.contender == contender && isWanted($0.placement) }
    let ordered = ScenarioResult.ordered(known, by: quoted)
    guard let best = ordered.first?.median(quoted) else { return [] }
    return ordered.filter { one in
      let values = one.values(quoted)
      return quoted.isLessBetter
        ? (values.min() ?? .infinity) * ScenarioResult.hopefulShare <= best
        : (values.max() ?? 0) >= best * ScenarioResult.hopefulShare
    }.prefix(ScenarioResult.hopefulPlaces).map(\.placement)
  }

  /// How many measurements of a contender failed.
  func failures(_ contender: Contender) -> Int {
    series.lazy.filter { $0.contender == contender }.map(\.problems.count).reduce(0, +)
  }

  /// The contenders that gave figures, in their order.
  var contenders: [Contender] {
    Contender.allCases.filter { contender in series.contains { $0.contender == contender && !$0.samples.isEmpty } }
  }

  /// The medians' ratio of two contenders' best places.
  func ratio(
    _ contender: Contender, to other: Contender = .kernel, where isWanted: (Placement) -> Bool = { _ in true }
  ) -> Double? {
    guard let mine = best(contender, where: isWanted)?.median(quoted),
      let theirs = best(other, where: isWanted)?.median(quoted), theirs > 0
    else { return nil }
    return mine / theirs
  }
}

/// All that a run found: what is written as JSON.
struct BenchReport: Codable, Sendable {
  struct Settings: Codable, Sendable {
    let isQuick: Bool
    let rounds: Int
    /// Rounds in which every place is measured, of scenarios that a target needs; one of the others. In the rest, those of each
    /// contender that may be its best.
    let roundsOfAllPlaces: Int
    /// Of scenarios that no target needs, at most.
    let roundsWithoutTarget: Int
    /// Of one measurement, at least.
    let seconds: Double
    let congestionControl: String
    var durationSeconds: Double = 0

    /// As a person reads it.
    var roundsText: String {
      "\(rounds) rounds, \(roundsOfAllPlaces) of them in all places "
        + "(where there is no target, \(roundsWithoutTarget) and 1), of \(seconds) s and more"
    }
  }

  let machine: Machine
  var settings: Settings
  let daemon: DaemonFacts
  /// Of the working copy that was measured, where git tells it.
  let commit: String?
  let scenarios: [ScenarioResult]
  let targets: [TargetOutcome]

  subscript(name: String) -> ScenarioResult? { scenarios.first { $0.name == name } }

  /// Whether anything failed but programs that netcond is compared with, whose failure is a result like others.
  var hasFailed: Bool {
    scenarios.contains { scenario in
      scenario.series.contains { !$0.problems.isEmpty && ![.pasta, .slirp4netns].contains($0.contender) }
    }
  }

  /// What failed, each problem of a contender once.
  var problems: [String] {
    var told: Set<String> = []
    return scenarios.flatMap { scenario in
      scenario.series.flatMap { series in
        series.problems.filter { told.insert("\(series.label): \($0)").inserted }.map {
          "FAILED: \(scenario.name), \(series.label), \(series.placement.description): \($0)"
        }
      }
    }
  }

  /// Readable, with sorted keys, so that two files can be compared.
  func json() throws -> String {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
    return String(decoding: try encoder.encode(self), as: UTF8.self) + "\n"
  }
}
