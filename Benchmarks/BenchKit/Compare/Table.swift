/// Text tables for a terminal, and numbers in few digits.
struct Table {
  private var rows: [[String]] = []

  init(_ titles: [String]) { rows.append(titles) }

  mutating func add(_ cells: [String]) { rows.append(cells) }

  /// Columns two blanks apart; the first left-aligned, the others too (they hold words and numbers mixed).
  var text: String {
    let count = rows.map(\.count).max() ?? 0
    let widths = (0..<count).map { column in rows.map { column < $0.count ? $0[column].count : 0 }.max() ?? 0 }
    return rows.map { row in
      let cells = row.enumerated().map { column, cell in
        cell + String(repeating: " ", count: widths[column] - cell.count)
      }
      let line = cells.joined(separator: "  ")
      return String(line.reversed().drop { $0 == " " }.reversed())
    }.joined(separator: "\n")
  }

  /// `value` with `places` decimals, rounded.
  static func number(_ value: Double, places: Int) -> String {
    guard value.isFinite else { return "-" }
    let scale = (0..<places).reduce(1) { scale, _ in scale * 10 }
    let scaled = Int((value * Double(scale)).rounded())
    guard places > 0 else { return String(scaled) }
    let fraction = String(abs(scaled) % scale)
    let sign = scaled < 0 ? "-" : ""
    return sign + String(abs(scaled) / scale) + "." + String(repeating: "0", count: places - fraction.count) + fraction
  }
}

extension Comparison {
  private func figure(_ value: Double, _ workload: Workload) -> String {
    Table.number(value, places: workload.isBulk ? 2 : 0)
  }

  /// What a person reads: the verdicts first, then every place that was tried.
  var text: String {
    var summary = Table(["", "netcond", "kernel veth", "unit", "ratio", "floor", "places: netcond | kernel"])
    for verdict in verdicts {
      let floor = verdict.floor.map { Table.number($0, places: 1) + (verdict.meetsFloor ? " met" : " MISSED") } ?? "-"
      summary.add([
        verdict.workload.rawValue, figure(verdict.netcond, verdict.workload), figure(verdict.kernel, verdict.workload),
        verdict.unit, Table.number(verdict.ratio, places: 2), floor,
        "\(verdict.netcondPlacement) | \(verdict.kernelPlacement)",
      ])
    }
    var all = Table(["all places", "side", "place (CPU)", "median", "min", "max", "app", "daemon", "peer (cores used)"])
    for series in series {
      let workload = series.workload
      all.add([
        workload.rawValue, series.side.rawValue, series.placement.description, figure(series.median, workload),
        figure(series.minimum, workload), figure(series.maximum, workload),
        Table.number(series.cores(\.appCPUSeconds), places: 2),
        series.side == .netcond ? Table.number(series.cores(\.daemonCPUSeconds), places: 2) : "-",
        Table.number(series.cores(\.peerCPUSeconds), places: 2),
      ])
    }
    let problems = series.flatMap { series in
      series.problems.map { "FAILED: \(series.workload.rawValue), \(series.side.rawValue): \($0)" }
    }
    let head = "\(machine.processor), \(machine.processorCount) CPUs, Linux \(machine.kernel) \(machine.architecture)"
    let rounds = "\(settings.rounds) rounds of \(settings.seconds) s"
    let plan = "\(rounds), interleaved; medians; one TCP stream, MTU \(settings.mtuBytes)"
    return ([head, plan, "", summary.text, "", all.text] + problems).joined(separator: "\n")
  }
}
