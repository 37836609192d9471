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
