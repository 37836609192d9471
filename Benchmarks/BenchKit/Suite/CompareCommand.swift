internal import ArgumentParser
internal import FoundationEssentials
internal import Glibc
internal import TestSupport

extension Placement.Choice: ExpressibleByArgument {}

/// `netcond-bench compare`: all scenarios, all contenders, in turn.
struct CompareCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "compare",
    abstract: "Compares netcond with the kernel's TCP, pasta and slirp4netns. Needs root and /dev/net/tun.",
    discussion: """
      Makes network namespaces of its own, starts daemons of its own, and removes all of it at the end, on failure \
      and on signals. All sides run the same programs and check the bytes; the order changes every round; the best place \
      of each contender counts, chosen alike for all. Writes report.html, report.json and summary.svg, and adds a line to \
      history.jsonl.
      """)

  @Flag(help: "The scenarios that the targets need, in fewer and shorter rounds: under three minutes.")
  var quick = false

  @Option(help: ArgumentHelp("Only scenarios whose name contains this.", valueName: "substring"))
  var only: [String] = []

  @Flag(help: "List the scenarios and end.")
  var list = false

  @Option(help: ArgumentHelp("Write the report into this folder; makes it.", valueName: "dir"))
  var report: String?

  @Option(help: ArgumentHelp("The folder with netcond, netcond-bench and the library.", valueName: "dir"))
  var bin: String?

  @Option(help: "Where the parts run: same (one CPU), split (two), both, or apart (one way to split).")
  var pin: Placement.Choice = .both

  @Option(help: "Rounds; the default is 5, or 3 with --quick. Scenarios that no target needs have 3 at most.")
  var rounds: Int?

  @Option(
    help: ArgumentHelp(
      "Rounds that try all places, of scenarios that a target needs, and one of the others; the rest tries those of each contender that may be its best. The default is 2, or 1 with --quick."
    ))
  var allPlaces: Int?

  @Option(help: "Seconds of one measurement; the default is 0.5, or 0.3 with --quick.")
  var seconds: Double?

  func validate() throws {
    guard rounds ?? 1 > 0, seconds ?? 1 > 0, allPlaces ?? 1 > 0 else {
      throw ValidationError("--rounds, --all-places and --seconds are positive")
    }
  }

  func run() throws {
    let binaries = try Binaries(folder: folder())
    var daemon = try DaemonFacts(binaries)
    let descriptorLimit = CompareCommand.raisedDescriptorLimit()
    let catalogue = Catalogue(
      isQuick: quick, hasBusyPoll: daemon.hasBusyPoll, descriptorLimit: descriptorLimit)
    var scenarios = catalogue.scenarios.filter { scenario in
      only.isEmpty || only.contains { scenario.name.contains($0) }
    }
    if list {
      for scenario in scenarios { print("\(scenario.group): \(scenario.name)") }
      return
    }
    for scenario in scenarios where !scenario.missingPackages.isEmpty {
      Progress.note(
        "not measured: \(scenario.name): apt-get install \(scenario.missingPackages.joined(separator: " "))")
    }
    if let most = catalogue.idleCounts.last, !quick, most < Catalogue.mostIdle {
      Progress.note(
        "not measured: \(Catalogue.mostIdle) idle connections, but \(most): a process may have \(descriptorLimit) "
          + "descriptors (RLIMIT_NOFILE), and to raise that takes CAP_SYS_RESOURCE")
    }
    for contender in Contender.allCases where !Runner.isInstalled(contender) {
      Progress.note("not measured: \(contender.rawValue), which is not installed")
    }
    scenarios.removeAll { !$0.missingPackages.isEmpty }
    guard !scenarios.isEmpty else { throw ValidationError("no scenario has such a name; --list tells all") }
    guard Requirements.hasTap else {
      throw SupportError(
        "compare needs root (CAP_NET_ADMIN), a /dev/net/tun that opens (modprobe tun) and ip(8) (package iproute2)")
    }
    defer { Cleanup.removeAll() }
    let rounds = rounds ?? (quick ? 3 : 5)
    var settings = BenchReport.Settings(
      isQuick: quick, rounds: rounds, roundsOfAllPlaces: min(rounds, allPlaces ?? (quick ? 1 : 2)),
      roundsWithoutTarget: min(rounds, 3),
      seconds: seconds ?? (quick ? 0.3 : 0.5), congestionControl: Congestion.machine)
    let start = monotonicSeconds()
    let results: [ScenarioResult]
    do {
      let runner = try Runner(scenarios, settings, binaries, pin: pin)
      runner.run()
      (results, daemon.log) = (runner.results, runner.daemonLog)
    }
    settings.durationSeconds = monotonicSeconds() - start
    let outcome = BenchReport(
      machine: Machine.current(), settings: settings, daemon: daemon, commit: CompareCommand.commit(),
      scenarios: results,
      targets: Targets.evaluate(results))
    print(outcome.text)
    if let report { try CompareCommand.write(outcome, to: report) }
    if outcome.hasFailed { throw ExitCode(1) }
  }

  private static func write(_ outcome: BenchReport, to folder: String) throws {
    mkdir(folder, 0o755)
    try writeFile(folder + "/report.json", outcome.json())
    try writeFile(folder + "/report.html", outcome.html)
    try writeFile(folder + "/summary.svg", outcome.summarySVG + "\n")
    try HistoryEntry(outcome).append(to: folder + "/history.jsonl")
    print("\nwritten: \(folder)/report.html, report.json, summary.svg; a line more in history.jsonl")
  }

  /// Raises the limit of descriptors, which daemons and programs inherit, as far as 100,000 connections need and as this
  /// process may (CAP_SYS_RESOURCE). Returns what it is then.
  private static func raisedDescriptorLimit() -> Int {
    let kind = __rlimit_resource_t(RLIMIT_NOFILE.rawValue)
    var limit = rlimit()
    getrlimit(kind, &limit)
    let now = limit.rlim_max
    limit.rlim_max = max(now, 400_000)
    return Int(clamping: setrlimit(kind, &limit) == 0 ? limit.rlim_max : now)
  }

  /// The commit of the working copy in this process's folder; nil where there is none, or no git.
  private static func commit() -> String? {
    guard let told = try? TestSupport.run(Command("git", ["describe", "--always", "--dirty"]), seconds: 10),
      told.status.isSuccess
    else { return nil }
    return told.standardOutput.split(separator: "\n").first.map(String.init)
  }

  private func folder() throws -> String {
    if let bin { return bin }
    var buffer = [UInt8](repeating: 0, count: 4096)
    let count = readlink("/proc/self/exe", &buffer, buffer.count)
    guard count > 0 else { throw SupportError.systemCall("readlink", "/proc/self/exe") }
    let path = String(decoding: buffer[..<count], as: UTF8.self)
    return "/" + path.split(separator: "/").dropLast().joined(separator: "/")
  }
}
