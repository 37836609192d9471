internal import TestSupport

/// A kind of figure.
struct Metric: Codable, Hashable, Sendable {
  let name: String
  let unit: String
  /// As of times: less is better.
  var isLessBetter = false
  /// Decimals that a reader needs.
  var places = 0

  static let gigabits = Metric(name: "throughput", unit: "Gbit/s", places: 2)
  static let megabits = Metric(name: "throughput", unit: "Mbit/s", places: 1)
  static let median = Metric(name: "median", unit: "µs", isLessBetter: true, places: 1)
  static let p99 = Metric(name: "p99", unit: "µs", isLessBetter: true, places: 1)
  static let p999 = Metric(name: "p99.9", unit: "µs", isLessBetter: true, places: 1)
  static let requests = Metric(name: "requests", unit: "/s")
  static let connections = Metric(name: "connections", unit: "/s")
  static let operations = Metric(name: "operations", unit: "/s")
  static let datagrams = Metric(name: "datagrams arrived", unit: "/s")
  static let loss = Metric(name: "loss", unit: "%", isLessBetter: true, places: 1)
  static let appCPU = Metric(name: "CPU of the app", unit: "s/GB", isLessBetter: true, places: 3)
  static let helperCPU = Metric(name: "CPU of the daemon", unit: "s/GB", isLessBetter: true, places: 3)
  static let machineCPU = Metric(name: "CPU of the machine", unit: "s/GB", isLessBetter: true, places: 3)
  static let slowdown = Metric(name: "slowdown", unit: "% of that without", isLessBetter: true, places: 1)
  static let idleBytes = Metric(name: "daemon memory", unit: "bytes per idle connection", isLessBetter: true)
}

/// One measurement: figures by the metric's name, and what the parts spent.
struct Sample: Codable, Sendable {
  var figures: [String: Double] = [:]
  var seconds: Double = 0
  var cpu = CPUUse()

  subscript(metric: Metric) -> Double? {
    get { figures[metric.name] }
    set { figures[metric.name] = newValue }
  }
}

/// CPU time in seconds.
struct CPUUse: Codable, Sendable {
  var app: Double = 0
  /// The daemon, or the process that translates.
  var helper: Double = 0
  var peer: Double = 0
  /// Everything that ran on the machine meanwhile, kernel threads and interrupts included.
  var machine: Double = 0
}

/// What is measured. The same measurement runs for every contender, on the stage that its wiring needs.
protocol Scenario: Sendable {
  /// Unique; `--only` looks into it.
  var name: String { get }
  /// The heading it stands under.
  var group: String { get }
  /// Whether a quick run has it.
  var isQuick: Bool { get }
  var wiring: Wiring { get }
  var contenders: [Contender] { get }
  /// The first is what is quoted and compared.
  var metrics: [Metric] { get }
  /// The least duration of one measurement, in seconds: what ramps up needs longer.
  var leastSeconds: Double { get }
  /// The most rounds it takes part in: what takes long gets fewer.
  var mostRounds: Int { get }
  /// Whether a target needs it: others get fewer rounds of a full run.
  var hasTarget: Bool { get }
  /// Whether it is also compared with its two programs on two CPUs, whatever place is the best: all rounds then have both.
  var isComparedApart: Bool { get }
  /// Measurements of the usual duration that one sample takes.
  var turns: Int { get }
  /// Less than all places, for what hardly depends on them.
  var places: Placement.Choice { get }

  /// Programs it needs in PATH, with the Debian package of each.
  var programs: [String: String] { get }

  /// One measurement.
  /// - Throws: `SupportError` when a part failed, a byte was wrong, or the bound passed.
  func measure(_ trial: Trial) throws -> Sample
}

extension Scenario {
  var leastSeconds: Double { 0 }
  var mostRounds: Int { .max }
  var hasTarget: Bool { isQuick }
  var isComparedApart: Bool { false }
  var turns: Int { 1 }
  var places: Placement.Choice { .both }
  var programs: [String: String] { [:] }
  var quoted: Metric { metrics[0] }

  /// The packages that are missing for it.
  var missingPackages: [String] { programs.filter { !Requirements.hasProgram($0.key) }.map(\.value).sorted() }
}

/// One measurement's surroundings.
struct Trial {
  let binaries: Binaries
  let stage: any Stage
  let placement: Placement
  let seconds: Double
  /// Which measurement of the run this is.
  let number: Int

  /// The port of a server that has to be told one: another in each measurement, so that nothing a former server left
  /// matters.
  var servicePort: Int {
    Namespaces.servicePorts.lowerBound + number % Namespaces.servicePorts.count
  }

  /// The same on another stage of the same kind.
  func moved(to stage: any Stage) -> Trial {
    Trial(binaries: binaries, stage: stage, placement: placement, seconds: seconds, number: number)
  }

  /// `command` as a program of this role: in its place, on its CPU.
  func command(_ command: Command, _ role: Role) -> Command {
    stage.wrap(command.pinned(to: role == .app ? placement.app : placement.peer), role)
  }

  /// Runs a program of this role to its successful end and returns what it printed.
  func output(_ command: Command, _ role: Role, seconds: Double) throws -> String {
    let command = self.command(command, role)
    return try stage.watched { try run(command, seconds: seconds).checked().standardOutput }
  }
}
