internal import Links

/// What is wrong with an `impair` line.
struct ImpairmentMistake: Error {
  let cause: String
  let cure: String
}

/// Reads the value of a network's `impair`, `impair-in` and `impair-out`: items of `name=value`, separated by commas.
struct ImpairmentParser {
  private var impairment = Impairment()
  private static let rateUnits: [(suffix: String, bits: Double)] = [("kbit", 1e3), ("mbit", 1e6), ("gbit", 1e9)]
  /// The micro sign, and the Greek letter, which look the same.
  private static let timeUnits: [(suffix: String, nanoseconds: Double)] = [
    ("us", 1e3), ("\u{b5}s", 1e3), ("\u{3bc}s", 1e3), ("ms", 1e6), ("s", 1e9),
  ]
  private static let longestNanoseconds = 60e9
  private static let limitRange = 1...1_000_000
  private static let rateRange = 1e3...100e9
  private static let all =
    "loss=1%, delay=20ms±5ms, duplicate=0.5%, reorder=2%, corrupt=0.1%, rate=100mbit, limit=20000 and seed=42"

  static func parse(_ value: String) throws(ImpairmentMistake) -> Impairment {
    var parser = ImpairmentParser()
    var seen: Set<String> = []
    for part in value.split(separator: ",", omittingEmptySubsequences: false) {
      let item = part.trimmed
      guard let equals = item.firstIndex(of: "=") else {
        throw ImpairmentMistake(
          cause: "'\(item)' is no impairment", cure: "write some of \(all), separated by commas")
      }
      let name = item[..<equals].trimmed
      guard seen.insert(name).inserted else {
        throw ImpairmentMistake(cause: "\(name) is given twice", cure: "keep one of the two")
      }
      try parser.read(name, item[item.index(after: equals)...].trimmed)
    }
    try parser.check()
    return parser.impairment
  }

  private mutating func read(_ name: String, _ value: String) throws(ImpairmentMistake) {
    switch name {
    case "loss": impairment.loss = try probability(name, value)
    case "duplicate": impairment.duplicate = try probability(name, value)
    case "reorder": impairment.reorder = try probability(name, value)
    case "corrupt": impairment.corrupt = try probability(name, value)
    case "delay": try readDelay(value)
    case "rate": try readRate(value)
    case "limit":
      guard let limit = Int(value), Self.limitRange.contains(limit) else {
        throw ImpairmentMistake(
          cause: "limit: '\(value)' is no count of packets",
          cure: "use \(Self.limitRange.lowerBound) to \(Self.limitRange.upperBound)")
      }
      impairment.limit = limit
    case "seed":
      guard let seed = UInt64(value) else {
        throw ImpairmentMistake(
          cause: "seed: '\(value)' is no number", cure: "use 0 to \(UInt64.max), or leave seed away")
      }
      impairment.seed = seed
    default:
      throw ImpairmentMistake(
        cause: "'\(name)' is no impairment", cure: "write some of \(Self.all), separated by commas")
    }
  }

  /// As tc-netem, which wants a delay: what does not wait cannot be overtaken.
  private func check() throws(ImpairmentMistake) {
    if impairment.reorder > 0, impairment.delayNanoseconds == 0, impairment.bitsPerSecond == nil {
      throw ImpairmentMistake(
        cause: "reorder without a delay changes nothing: a packet overtakes those that wait, and none does",
        cure: "add delay=10ms, or remove reorder")
    }
  }

  // MARK: Values

  /// Digits, and perhaps a point and more digits.
  private static func number(_ text: some StringProtocol) -> Double? {
    let parts = text.split(separator: ".", omittingEmptySubsequences: false)
    guard parts.count <= 2, parts.allSatisfy({ !$0.isEmpty && $0.utf8.allSatisfy { (0x30...0x39).contains($0) } })
    else { return nil }
    return Double(String(text))
  }

  private static func quantity(_ text: String, _ units: [(String, Double)]) -> Double? {
    for (suffix, factor) in units where text.hasSuffix(suffix) {
      if let value = number(text.dropLast(suffix.count)) { return value * factor }
    }
    return nil
  }

  private func probability(_ name: String, _ value: String) throws(ImpairmentMistake) -> Double {
    guard value.hasSuffix("%"), let percent = Self.number(value.dropLast()), percent <= 100 else {
      throw ImpairmentMistake(
        cause: "\(name): '\(value)' is no percentage", cure: "use 0% to 100%, as in \(name)=0.5%")
    }
    return percent / 100
  }

  private mutating func readDelay(_ value: String) throws(ImpairmentMistake) {
    let ascii = value.split(separator: "±", omittingEmptySubsequences: false).joined(separator: "+-")
    let times = ascii.split(separator: "+-", omittingEmptySubsequences: false).map {
      Self.quantity($0.trimmed, Self.timeUnits)
    }
    guard times.count <= 2, let delay = times[0], let jitter = times.count == 2 ? times[1] : 0,
      delay <= Self.longestNanoseconds
    else {
      throw ImpairmentMistake(
        cause: "delay: '\(value)' is no time",
        cure: "use up to 60s, as in delay=20ms or delay=1.5ms±500us (in ASCII: delay=1.5ms+-500us)")
    }
    guard jitter <= delay else {
      throw ImpairmentMistake(
        cause: "delay: '\(value)' varies by more than the delay itself, and nothing arrives before it was sent",
        cure: "use a longer delay, or vary it less")
    }
    impairment.delayNanoseconds = UInt64(delay.rounded())
    impairment.jitterNanoseconds = UInt64(jitter.rounded())
  }

  private mutating func readRate(_ value: String) throws(ImpairmentMistake) {
    guard let rate = Self.quantity(value.lowercased(), Self.rateUnits), Self.rateRange.contains(rate) else {
      throw ImpairmentMistake(
        cause: "rate: '\(value)' is no rate", cure: "use 1kbit to 100gbit (per second), as in rate=100mbit")
    }
    impairment.bitsPerSecond = UInt64(rate.rounded())
  }
}
