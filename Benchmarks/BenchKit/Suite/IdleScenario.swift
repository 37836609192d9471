internal import TestSupport

/// Two stages alike, one with idle connections of its peer to a server of its app.
final class IdleStage: Stage {
  private let beside: any Stage
  /// The one without.
  let bare: any Stage
  private let server: BenchServer
  private let holder: ChildProcess
  var helper: ChildProcess? { beside.helper }
  let figures: [String: Double]

  init(_ beside: any Stage, _ bare: any Stage, count: Int, _ binaries: Binaries) throws {
    (self.beside, self.bare) = (beside, bare)
    server = try BenchServer(binaries, address: beside.address(of: .app, .ipv4)) { beside.wrap($0, .app) }
    let before = try beside.helper.map { try ProcessFacts.residentBytes($0.pid) }
    let sources = [try beside.address(of: .peer, .ipv4)] + Address.morePeers
    let options = ["--count", String(count), "--ready-fd", String(ReadyProcess.descriptor)]
    let command = BenchClient.command(
      binaries, "idle", server.endpoint, options + sources.flatMap { ["--source", $0] })
    // 1,000 connections a second at least.
    holder = try beside.watched {
      try ReadyProcess(beside.wrap(command, .peer), seconds: 20 + Double(count) / 1000).process
    }
    let after = try beside.helper.map { try ProcessFacts.residentBytes($0.pid) }
    if let before, let after {
      figures = [Metric.idleBytes.name: Double(after - before) / Double(count)]
    } else {
      figures = [:]
    }
  }

  func wrap(_ command: Command, _ role: Role) -> Command { beside.wrap(command, role) }
  func address(of role: Role, _ family: Family) throws -> String { try beside.address(of: role, family) }

  func place(_ placement: Placement) throws {
    guard holder.isRunning else { throw SupportError("the idle connections ended: \(holder.standardError)") }
    try beside.place(placement)
  }
}

/// A program's scenario beside idle connections and, in turns, without: what they cost is a small difference, which the
/// machine's own changes would hide between two measurements that lie apart.
struct IdleScenario: Scenario {
  /// What is measured; its wiring is the one with idle connections.
  let program: ProgramScenario
  let isQuick: Bool
  var name: String { program.name }
  var group: String { program.group }
  var wiring: Wiring { program.wiring }
  var contenders: [Contender] { program.contenders }
  var metrics: [Metric] { program.metrics + [.slowdown, .idleBytes] }
  var hasTarget: Bool { true }
  var places: Placement.Choice { program.places }
  /// Without, beside, beside, without: a drift falls on both alike.
  var turns: Int { 4 }

  func measure(_ trial: Trial) throws -> Sample {
    guard let stage = trial.stage as? IdleStage else { throw SupportError("\(name) has no idle connections") }
    func turn(_ stage: any Stage) throws -> Sample { try program.measure(trial.moved(to: stage)) }
    let first = try turn(stage.bare)
    let samples = try [turn(stage), turn(stage)]
    let last = try turn(stage.bare)
    var result = samples[0]
    result.figures = samples[0].figures.merging(samples[1].figures) { ($0 + $1) / 2 }
    guard let mine = result[program.quoted], let before = first[program.quoted], let after = last[program.quoted],
      before + after > 0
    else { throw SupportError("\(name): no figure") }
    result[.slowdown] = 100 * (1 - 2 * mine / (before + after))
    return result
  }
}
