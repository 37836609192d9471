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

  /// Whether `value` is better than `other`.
  func isBetter(_ value: Double, than other: Double) -> Bool { quoted.isLessBetter ? value < other : value > other }

  /// The series of a contender's best place, chosen alike for all: by the quoted metric's median.
  func best(_ contender: Contender, where isWanted: (Placement) -> Bool = { _ in true }) -> Series? {
    var best: (series: Series, median: Double)?
    for series in series where series.contender == contender && isWanted(series.placement) {
      guard let median = series.median(quoted) else { continue }
      if best.map({ isBetter(median, than: $0.median) }) ?? true { best = (series, median) }
    }
    return best?.series
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
    /// Rounds in which every place is measured; in the others, each contender's best one.
    let roundsOfAllPlaces: Int
    /// Of one measurement, at least.
    let seconds: Double
    let congestionControl: String
    var durationSeconds: Double = 0
  }

  let machine: Machine
  var settings: Settings
  let daemon: DaemonFacts
  /// Of the working copy that was measured, where git tells it.
  let commit: String?
  let scenarios: [ScenarioResult]
  let targets: [TargetOutcome]

  subscript(name: String) -> ScenarioResult? { scenarios.first { $0.name == name } }

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
