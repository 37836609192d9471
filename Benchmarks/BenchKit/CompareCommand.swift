internal import ArgumentParser
internal import FoundationEssentials
internal import Glibc
internal import TestSupport

extension Placement.Choice: ExpressibleByArgument {}

/// `netcond-bench compare`: an intercepted program against a kernel peer over a tap, and the same programs over veth.
struct CompareCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "compare",
    abstract: "Compares netcond over a tap with the kernel's TCP over veth. Needs root and /dev/net/tun.",
    discussion: """
      Makes network namespaces of its own, starts a daemon of its own, and removes all of it at the end, on failure \
      and on signals. Both sides run the same programs; the order changes every round; the better place of each side \
      counts.
      """)

  @Flag(help: "Fewer and shorter rounds: under two minutes.")
  var quick = false

  @Option(help: ArgumentHelp("Write the figures here as JSON; makes the folder.", valueName: "file"))
  var json: String?

  @Option(help: ArgumentHelp("The folder with netcond, netcond-bench and the library.", valueName: "dir"))
  var bin: String?

  @Option(help: "Where the parts run: same (one CPU), split (two) or both.")
  var pin: Placement.Choice = .both

  @Option(help: "Rounds; the default is 5, or 3 with --quick.")
  var rounds: Int?

  @Option(help: "Seconds of one measurement; the default is 1.5, or 0.6 with --quick.")
  var seconds: Double?

  func validate() throws {
    guard rounds ?? 1 > 0, seconds ?? 1 > 0 else { throw ValidationError("--rounds and --seconds are positive") }
  }

  func run() throws {
    guard Requirements.hasTap else {
      throw SupportError(
        "compare needs root (CAP_NET_ADMIN), a /dev/net/tun that opens (modprobe tun) and ip(8) (package iproute2)")
    }
    defer { Cleanup.removeAll() }
    let settings = Comparison.Settings(
      rounds: rounds ?? (quick ? 3 : 5), seconds: seconds ?? (quick ? 0.6 : 1.5), chunkBytes: 131_072, mtuBytes: 1500)
    let comparison = Comparison(settings, try measure(settings))
    print(comparison.text)
    if let json {
      let encoder = JSONEncoder()
      encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
      if let end = json.lastIndex(of: "/"), end > json.startIndex { mkdir(String(json[..<end]), 0o755) }
      try writeFile(json, String(decoding: encoder.encode(comparison), as: UTF8.self) + "\n")
    }
    if comparison.series.contains(where: { !$0.problems.isEmpty }) { throw ExitCode(1) }
  }

  private func folder() throws -> String {
    if let bin { return bin }
    var buffer = [UInt8](repeating: 0, count: 4096)
    let count = readlink("/proc/self/exe", &buffer, buffer.count)
    guard count > 0 else { throw SupportError.systemCall("readlink", "/proc/self/exe") }
    let path = String(decoding: buffer[..<count], as: UTF8.self)
    return "/" + path.split(separator: "/").dropLast().joined(separator: "/")
  }

  private func measure(_ settings: Comparison.Settings) throws -> [Series] {
    let cpus = try Processors.allowed()
    var series = Workload.allCases.flatMap { workload in
      Placement.kernel(pin, cpus: cpus).map { Series(workload: workload, side: .kernel, placement: $0) }
        + Placement.netcond(pin, cpus: cpus).map { Series(workload: workload, side: .netcond, placement: $0) }
    }
    let testbed = try Testbed(Binaries(folder: folder()))
    for round in 0..<settings.rounds {
      progress("round \(round + 1) of \(settings.rounds)")
      // Forwards, then backwards: what drifts while the run lasts falls on all alike.
      for index in round % 2 == 0 ? Array(series.indices) : series.indices.reversed() {
        let (workload, side, placement) = (series[index].workload, series[index].side, series[index].placement)
        do {
          series[index].samples.append(
            try testbed.measure(workload, side, placement, seconds: settings.seconds))
        } catch let error as SupportError {
          series[index].problems.append("\(placement.description): \(error)")
          if !testbed.isUsable { throw error }
        }
      }
    }
    return series
  }

  /// Progress goes to stderr: stdout is the result.
  private func progress(_ text: String) {
    let line = Array("netcond-bench: \(text)\n".utf8)
    _ = write(2, line, line.count)
  }
}
