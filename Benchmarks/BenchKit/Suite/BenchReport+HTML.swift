/// The report as one HTML file that refers to nothing outside, and its summary as an SVG.
extension BenchReport {
  private static func colour(_ contender: Contender) -> String {
    switch contender {
    case .netcond: "#0a7d55"
    case .netcondBusyPoll: "#4fb58e"
    case .kernel: "#7a8793"
    case .kernelCubic: "#5b6f86"
    case .kernelBBR: "#aab3bb"
    case .pasta: "#c98a1b"
    case .slirp4netns: "#b3532e"
    }
  }

  private func chart(_ scenario: ScenarioResult) -> BarChart {
    let metric = scenario.quoted
    let bars = scenario.contenders.compactMap { contender -> BarChart.Bar? in
      guard let best = scenario.best(contender), let median = best.median(metric) else { return nil }
      let values = best.values(metric)
      let ratio = contender == .kernel ? nil : scenario.ratio(contender)
      let further = scenario.metrics.compactMap { metric in
        best.median(metric).map { "\(metric.name) \(BenchReport.cell($0, metric)) \(metric.unit)" }
      }
      return BarChart.Bar(
        label: best.label, value: median,
        text: BenchReport.cell(median, metric) + (ratio.map { " (\(Table.number($0, places: 2)) ×)" } ?? ""),
        range: values.min().flatMap { least in values.max().map { least...$0 } }, colour: BenchReport.colour(contender),
        tip: (further + [best.placement.description]).joined(separator: "\n"))
    }
    let direction = metric.isLessBetter ? ", less is better" : ""
    return BarChart(title: "\(scenario.name): \(metric.name), \(metric.unit)\(direction)", bars: bars)
  }

  /// Ratios to the kernel's figure with target and floor: what the README shows.
  var summarySVG: String {
    let bars = targets.filter { $0.unit.hasPrefix("×") }.compactMap { target -> BarChart.Bar? in
      guard let value = target.value else { return nil }
      let colour =
        switch target.verdict {
        case .target: "#0a7d55"
        case .floor: "#8aa82a"
        case .missed, .unknown: "#b3532e"
        }
      return BarChart.Bar(
        label: target.name + (target.isLessBetter ? " (less is better)" : ""), value: value,
        text: "\(Table.number(value, places: 2)) \(target.unit)", colour: colour,
        marks: [(target.floor, "floor"), (target.target, "target")])
    }
    return BarChart(
      title: "netcond on \(machine.processorCount) CPUs, Linux \(machine.kernel): reached; dashed: floor and target",
      bars: bars, limit: 6
    ).svg
  }

  private var targetRows: String {
    targets.map { target in
      let sign = target.isLessBetter ? "≤ " : "≥ "
      let cells = [
        target.name, target.value.map { Table.number($0, places: 2) } ?? "–",
        sign + Table.number(target.target, places: 2),
        sign + Table.number(target.floor, places: 2), target.unit, target.verdict.rawValue,
      ]
      return "<tr class=\"\(target.verdict)\">" + cells.map { "<td>\(escape($0))</td>" }.joined() + "</tr>"
    }.joined(separator: "\n")
  }

  /// Every series: each place that was measured, not only the best.
  private var seriesRows: String {
    scenarios.flatMap { scenario in
      scenario.series.filter { !$0.samples.isEmpty }.map { series in
        let values = series.values(scenario.quoted)
        let further = scenario.metrics.dropFirst().compactMap { metric in
          series.median(metric).map { "\(metric.name) \(BenchReport.cell($0, metric)) \(metric.unit)" }
        }
        let cells = [
          scenario.name, series.label, series.placement.description, String(values.count),
          BenchReport.cell(series.median(scenario.quoted), scenario.quoted),
          BenchReport.cell(values.min(), scenario.quoted),
          BenchReport.cell(values.max(), scenario.quoted), scenario.quoted.unit, further.joined(separator: "; "),
        ]
        return "<tr>" + cells.map { "<td>\(escape($0))</td>" }.joined() + "</tr>"
      }
    }.joined(separator: "\n")
  }

  var html: String {
    var sections = ""
    var group = ""
    for scenario in scenarios where !scenario.contenders.isEmpty {
      if scenario.group != group { sections += "<h2>\(escape(scenario.group))</h2>\n" }
      group = scenario.group
      sections += chart(scenario).svg + "\n"
    }
    let failures = problems.isEmpty ? "" : "<h2>Failed</h2><pre>\(escape(problems.joined(separator: "\n")))</pre>"
    return """
      <!DOCTYPE html>
      <html lang="en"><head><meta charset="utf-8"><title>netcond: benchmark of \(escape(machine.date))</title>
      <style>
      body { font: 15px/1.45 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; color: #1a1a1a;
        background: #fff }
      svg { display: block; margin: .6rem 0; max-width: 100%; height: auto }
      table { border-collapse: collapse; font-size: 13px } td, th { padding: .2rem .6rem; border-bottom: 1px solid #ddd;
        text-align: left; vertical-align: top }
      tr.target td:last-child { color: #0a7d55; font-weight: 600 } tr.missed td:last-child { color: #b3261e; font-weight: 600 }
      pre { background: #f4f5f6; padding: .8rem; overflow-x: auto; font-size: 12.5px }
      </style></head><body>
      <h1>netcond's benchmark</h1>
      <pre>\(escape(head))</pre>
      <h2>Targets</h2>
      \(summarySVG)
      <table><tr><th></th><th>reached</th><th>target</th><th>floor</th><th>unit</th><th></th></tr>
      \(targetRows)</table>
      <p>Each bar is the median in the contender's best place on the CPUs; the line through it spans the single measurements;
      a pointer on it shows the rest.</p>
      \(sections)
      \(failures)
      <h2>All places</h2>
      <table><tr><th>scenario</th><th></th><th>place (CPU)</th><th>rounds</th><th>median</th><th>min</th><th>max</th>
      <th>unit</th><th>further medians</th></tr>
      \(seriesRows)</table>
      <h2>The daemon's words at its start</h2>
      <pre>\(escape(daemon.log.joined(separator: "\n")))</pre>
      </body></html>

      """
  }
}
