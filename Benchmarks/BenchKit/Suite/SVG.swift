/// Horizontal bars as SVG, without any reference to the outside: for the report and, alone, for the README.
struct BarChart {
  struct Bar {
    let label: String
    let value: Double
    let text: String
    /// The spread of single measurements.
    var range: ClosedRange<Double>?
    let colour: String
    /// Values marked by a line across the bar, with a word each.
    var marks: [(value: Double, word: String)] = []
    /// What a pointer on the bar shows.
    var tip = ""
  }

  private enum Size {
    static let width = 760.0
    static let label = 290.0
    static let value = 170.0
    static let row = 22.0
    static let bar = 14.0
  }

  let title: String
  var bars: [Bar]
  /// Cut here, with an arrow: one giant must not make the others invisible.
  var limit: Double?

  /// A whole SVG element.
  var svg: String {
    let most = bars.flatMap { [$0.value, $0.range?.upperBound ?? 0] + $0.marks.map(\.value) }.max() ?? 1
    let scale = (Size.width - Size.label - Size.value) / max(min(most, limit ?? .infinity), 1e-9)
    let height = 30 + Size.row * Double(bars.count)
    let rows = bars.enumerated().map { row($1, y: 28 + Size.row * Double($0), scale: scale) }
    return """
      <svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 \(Int(Size.width)) \(Int(height))" width="\(Int(Size.width))" \
      font-family="system-ui, sans-serif" font-size="12" role="img" aria-label="\(escape(title))">
      <rect width="100%" height="100%" fill="#ffffff"/>
      <text x="4" y="16" font-weight="600" fill="#1a1a1a">\(escape(title))</text>
      \(rows.joined(separator: "\n"))
      </svg>
      """
  }

  private func row(_ bar: Bar, y: Double, scale: Double) -> String {
    let width = max(1, min(bar.value, limit ?? .infinity) * scale)
    let (x, middle) = (Size.label, y + Size.bar / 2)
    var parts = [
      "<text x=\"\(x - 8)\" y=\"\(middle + 4)\" text-anchor=\"end\" fill=\"#1a1a1a\">\(escape(bar.label))</text>",
      "<rect x=\"\(x)\" y=\"\(y)\" width=\"\(round(width))\" height=\"\(Size.bar)\" fill=\"\(bar.colour)\">"
        + "<title>\(escape(bar.tip))</title></rect>",
    ]
    if let range = bar.range, limit.map({ range.upperBound <= $0 }) ?? true {
      parts.append(
        "<path d=\"M\(round(x + range.lowerBound * scale)) \(middle)H\(round(x + range.upperBound * scale))\" "
          + "stroke=\"#1a1a1a\" stroke-width=\"1.5\"/>")
    }
    for mark in bar.marks {
      let position = round(x + mark.value * scale)
      parts.append(
        "<path d=\"M\(position) \(y - 3)V\(y + Size.bar + 3)\" stroke=\"#1a1a1a\" stroke-dasharray=\"3 2\">"
          + "<title>\(escape(mark.word))</title></path>")
    }
    let end = max(width, (bar.range?.upperBound ?? 0) * scale, bar.marks.map(\.value).max().map { $0 * scale } ?? 0)
    let shown = min(end, (limit ?? .infinity) * scale)
    let arrow = limit.map { bar.value > $0 } ?? false ? " ▸" : ""
    parts.append(
      "<text x=\"\(round(x + shown) + 6)\" y=\"\(middle + 4)\" fill=\"#1a1a1a\">\(escape(bar.text))\(arrow)</text>")
    return parts.joined()
  }

  private func round(_ value: Double) -> Double { (value * 10).rounded() / 10 }
}

/// `text` for an element or an attribute of XML and HTML.
func escape(_ text: String) -> String {
  text.reduce(into: "") { result, character in
    switch character {
    case "&": result += "&amp;"
    case "<": result += "&lt;"
    case ">": result += "&gt;"
    case "\"": result += "&quot;"
    default: result.append(character)
    }
  }
}
