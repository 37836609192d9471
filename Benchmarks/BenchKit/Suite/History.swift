internal import ArgumentParser
internal import FoundationEssentials
internal import Glibc
internal import TestSupport

/// One line of bench-report/history.jsonl: enough of a run to compare it with others.
struct HistoryEntry: Codable {
  let date: String
  let commit: String?
  let isQuick: Bool
  let kernel: String
  let processor: String
  /// The targets' values by their names.
  let targets: [String: Double]
  /// By scenario, then by contender: the quoted metric's median in the best place.
  let medians: [String: [String: Double]]

  init(_ report: BenchReport) {
    date = report.machine.date
    commit = report.commit
    isQuick = report.settings.isQuick
    kernel = report.machine.kernel
    processor = report.machine.processor
    targets = Dictionary(
      report.targets.compactMap { target in target.value.map { ("\(target.name) \(target.unit)", $0) } }
    ) {
      first, _ in first
    }
    medians = Dictionary(
      report.scenarios.map { scenario in
        let values = scenario.contenders.compactMap { contender in
          scenario.best(contender)?.median(scenario.quoted).map { (contender.rawValue, $0) }
        }
        return (scenario.name, Dictionary(values) { first, _ in first })
      }
    ) { first, _ in first }
  }

  /// Adds the line to the file's end.
  func append(to path: String) throws {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    let line = try Array(encoder.encode(self)) + [UInt8(ascii: "\n")]
    let file = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o644)
    guard file >= 0 else { throw SupportError.systemCall("open", path) }
    defer { close(file) }
    guard write(file, line, line.count) == line.count else { throw SupportError.systemCall("write", path) }
  }

  static func read(_ path: String) throws -> [HistoryEntry] {
    try readFile(path).split(separator: "\n").map { try JSONDecoder().decode(HistoryEntry.self, from: Data($0.utf8)) }
  }
}

/// `netcond-bench history`: the runs side by side.
struct HistoryCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "history", abstract: "Prints what former runs reached, the newest last.")

  @Option(help: ArgumentHelp("The file that compare adds to.", valueName: "file"))
  var file = "bench-report/history.jsonl"

  @Option(help: "How many of the last runs.")
  var last = 6

  @Flag(help: "All scenarios' ratios to the kernel instead of the targets.")
  var scenarios = false

  func validate() throws { guard last > 0 else { throw ValidationError("--last is positive") } }

  func run() throws {
    let entries = try HistoryEntry.read(file).suffix(last)
    var table = Table([""] + entries.map { "\($0.date.prefix(16)) \($0.isQuick ? "quick" : "full")" })
    table.add(["commit"] + entries.map { $0.commit ?? "-" })
    let columns = entries.map { scenarios ? $0.ratios : $0.targets }
    for name in Set(columns.flatMap(\.keys)).sorted() {
      table.add([name] + columns.map { $0[name].map { Table.number($0, places: 2) } ?? "-" })
    }
    print(table.text)
  }
}

extension HistoryEntry {
  /// netcond's median to the kernel's, by scenario.
  var ratios: [String: Double] {
    medians.compactMapValues { values in
      guard let mine = values[Contender.netcond.rawValue], let theirs = values[Contender.kernel.rawValue], theirs > 0
      else {
        return nil
      }
      return mine / theirs
    }
  }
}
