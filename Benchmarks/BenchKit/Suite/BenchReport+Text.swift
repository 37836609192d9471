/// What a person reads on the terminal: each scenario in its best places, then what failed, then the targets.
extension BenchReport {
  static func cell(_ value: Double?, _ metric: Metric) -> String {
    value.map { Table.number($0, places: metric.places) } ?? "-"
  }

  var head: String {
    "\(machine.processor), \(machine.processorCount) CPUs, Linux \(machine.kernel) \(machine.architecture), "
      + "\(machine.date)\n"
      + "\(daemon.version)\(commit.map { ", commit \($0)" } ?? ""); kernel's congestion control: \(settings.congestionControl), on impaired paths cubic\n"
      + "\(settings.isQuick ? "quick run" : "full run"): \(settings.roundsText), interleaved, "
      + "the other rounds in each one's two best places; medians; "
      + "\(Int(settings.durationSeconds)) s in all"
  }

  var text: String {
    var groups: [(name: String, scenarios: [ScenarioResult])] = []
    for scenario in scenarios {
      if groups.last?.name != scenario.group { groups.append((scenario.group, [])) }
      groups[groups.count - 1].scenarios.append(scenario)
    }
    let tables = groups.map { "\($0.name)\n\(BenchReport.table($0.scenarios).text)" }
    return ([head] + tables + (problems.isEmpty ? [] : [problems.joined(separator: "\n")]) + [targetsText])
      .joined(separator: "\n\n")
  }

  private static func table(_ scenarios: [ScenarioResult]) -> Table {
    var table = Table(["", "", "median", "unit", "min", "max", "× kernel", "further medians; place (CPU)"])
    for scenario in scenarios {
      for (index, contender) in scenario.contenders.enumerated() {
        guard let best = scenario.best(contender) else { continue }
        let values = best.values(scenario.quoted)
        let more = scenario.metrics.dropFirst().compactMap { metric in
          best.median(metric).map { "\(metric.name) \(cell($0, metric)) \(metric.unit)" }
        }
        table.add([
          index == 0 ? scenario.name : "", best.label, cell(best.median(scenario.quoted), scenario.quoted),
          scenario.quoted.unit, cell(values.min(), scenario.quoted), cell(values.max(), scenario.quoted),
          contender == .kernel ? "" : scenario.ratio(contender).map { Table.number($0, places: 2) } ?? "-",
          (more + [best.placement.description]).joined(separator: "; "),
        ])
      }
    }
    return table
  }

  private var targetsText: String {
    var table = Table(["targets", "reached", "target", "floor", "unit", ""])
    for target in targets {
      let sign = target.isLessBetter ? "≤ " : "≥ "
      table.add([
        target.name, target.value.map { Table.number($0, places: 2) } ?? "-",
        sign + Table.number(target.target, places: 2),
        sign + Table.number(target.floor, places: 2), target.unit, target.verdict.rawValue,
      ])
    }
    return table.text
  }
}
