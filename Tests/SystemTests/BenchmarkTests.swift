@testable import BenchKit
import Glibc
import TestSupport
import Testing

extension SystemTests {
  /// The benchmark's parts, and the whole of it in small: a figure counts only if its program is right.
  @Suite struct Benchmark {
    @Test("the pattern tells a wrong byte and a shift, wherever the stream is cut")
    func pattern() {
      let pattern = Pattern(seed: 7, windowBytes: 4096)
      let isRepeatable =
        Pattern(seed: 7, windowBytes: 4096).firstMismatch(pattern.bytes(at: 0, count: 4096), at: 0) == nil
      #expect(isRepeatable)
      for position: UInt64 in [0, 1, 65_520, 65_521, 1 << 40] {
        var bytes = Array(pattern.bytes(at: position, count: 4096))
        let intact = bytes.withUnsafeBytes { pattern.firstMismatch($0, at: position) }
        #expect(intact == nil)
        let shifted = bytes.withUnsafeBytes { pattern.firstMismatch($0, at: position + 1460) }
        #expect(shifted != nil)
        bytes[4000] ^= 1
        let spoilt = bytes.withUnsafeBytes { pattern.firstMismatch($0, at: position) }
        #expect(spoilt == 4000)
      }
    }

    @Test("the digest does not depend on how the stream is cut")
    func digest() {
      let bytes = (0..<1000).map { UInt8(truncatingIfNeeded: $0 &* 31) }
      func digest(step: Int) -> UInt64 {
        var digest = StreamDigest()
        for start in stride(from: 0, to: bytes.count, by: step) {
          bytes[start..<min(start + step, bytes.count)].withUnsafeBytes { digest.update($0) }
        }
        return digest.value
      }
      let whole = digest(step: 1000)
      for step in [1, 3, 7, 8, 64, 999] { #expect(digest(step: step) == whole) }
      var shorter = StreamDigest()
      bytes.dropLast().withUnsafeBytes { shorter.update($0) }
      #expect(shorter.value != whole)
    }

    @Test("the header and the report come back as they went")
    func wireFormat() {
      var header = RequestHeader(.sinkUntilEnd)
      header.closer = .server
      header.bytes = 1 << 40
      header.seed = .max
      header.wantsDigest = true
      header.durationMilliseconds = 600
      #expect(header.encoded.withUnsafeBytes { RequestHeader(decoding: $0) } == header)
      #expect([UInt8](repeating: 7, count: 32).withUnsafeBytes { RequestHeader(decoding: $0) } == nil)
      var report = Report()
      report.count = 5
      report.firstMismatch = 3
      #expect(report.encoded.withUnsafeBytes { Report(decoding: $0) } == report)
    }

    @Test("natively over loopback all scenarios verify: the kernel is the oracle of the programs themselves")
    func native() throws {
      let binaries = try Binaries.located()
      let server = try BenchServer(binaries, address: "127.0.0.1")
      for scenario in ["bulk-send", "bulk-receive", "duplex"] {
        let command = BenchClient.command(binaries, scenario, server.endpoint, ["--bytes", "1000000", "--digest"])
        #expect(try BenchClient.run(command, seconds: 20).verified, "\(scenario)")
      }
      for options in [["--concurrency", "3"], ["--concurrency", "3", "--non-blocking"], ["--reset"]] {
        let churn = BenchClient.command(binaries, "churn", server.endpoint, ["--count", "100"] + options)
        let result = try BenchClient.run(churn, seconds: 20)
        #expect(result.connections == 100 && result.latency?.count == 100, "\(options)")
      }
      for connections in ["1", "8"] {
        let options = ["--count", "200", "--chunk", "1000", "--concurrency", connections]
        let echo = BenchClient.command(binaries, "echo", server.endpoint, options)
        #expect(try BenchClient.run(echo, seconds: 20).requests >= 190, "\(connections)")
      }
      let streams = BenchClient.command(
        binaries, "bulk-send", server.endpoint, ["--bytes", "100000", "--concurrency", "8"])
      #expect(try BenchClient.run(streams, seconds: 20).bytes == 800_000)
      let datagrams = BenchClient.command(
        binaries, "datagrams", server.endpoint, ["--count", "50", "--chunk", "1400"])
      let result = try BenchClient.run(datagrams, seconds: 20)
      #expect(result.sentDatagrams == 50 && result.arrivedDatagrams > 0)
    }

    @Test("no connection gets the port of a server that is told its port", .needsTap)
    func servicePorts() throws {
      let namespace = try Namespaces.make("sp")
      let reserved = try namespace.run(Command("cat", ["/proc/sys/net/ipv4/ip_local_reserved_ports"])).checked()
      let ports = Namespaces.servicePorts
      #expect(reserved.standardOutput == "\(ports.lowerBound)-\(ports.upperBound)\n")
    }

    @Test("a comparison that a signal ends leaves no namespace, folder or process", .needsTap)
    func endedBySignal() throws {
      let binaries = try Binaries.located()
      let arguments = ["compare", "--quick", "--pin", "same", "--only", "round trip", "--only", "one network"]
      let comparison = try ChildProcess(Command(binaries.bench, arguments))
      try waitUntil("measurements", seconds: 60) { comparison.standardError.contains("round 1/") }
      let children = try ProcessFacts.children(comparison.pid)
      comparison.send(signal: SIGTERM)
      #expect(try comparison.wait(seconds: 60) == .exited(128 + SIGTERM))
      let mark = "nct-" + UniqueName.mark(of: comparison.pid)
      let namespaces = try run(Command("ip", ["netns", "list"]), seconds: 10).checked().standardOutput
      #expect(!namespaces.contains(mark))
      #expect(listFolder("/tmp").filter { $0.hasPrefix(mark) }.isEmpty)
      for child in children { #expect(kill(child, 0) != 0, "process \(child) is left") }
    }

    /// One scenario of each kind, so that no kind can break unseen.
    private static let kinds = [
      "bulk send, 8 streams, 1 KiB writes, IPv6", "bulk receive, 1 stream", "round trip, 1 B, 1 connection",
      "round trip, 1 KiB, 64", "churn as client, 64 at once, non-blocking connect, closed by RST",
      "churn as server, 1 at once", "nginx, 1 KiB, connection-close", "redis-benchmark -P 16", "UDP send, 8 KiB",
      "UDP receive, 64 B", "bulk send beside 1000 idle", "bulk receive, 40 ms", "one network, bulk", "hub, round trip",
    ]

    @Test("compare in small: every kind of scenario, all contenders, and the reports", .needsTap)
    func compare() throws {
      let binaries = try Binaries.located()
      let folder = try TemporaryFolder("cmp")
      let tiny = ["--rounds", "1", "--seconds", "0.05", "--pin", "same", "--report", folder.path + "/report"]
      let command = Command(
        binaries.bench,
        ["compare", "--bin", binaries.folder] + tiny + Benchmark.kinds.flatMap { ["--only", $0] })
      let result = try run(command, seconds: 240).checked()
      for kind in Benchmark.kinds { #expect(result.standardOutput.contains(kind), "\(kind)") }
      #expect(result.standardOutput.contains("\ntargets"))
      let figures = try readFile(folder.path + "/report/report.json")
      #expect(figures.contains("\"targets\"") && figures.contains("\"kernel\"") && figures.contains("io_uring"))
      let page = try readFile(folder.path + "/report/report.html")
      #expect(page.contains("<svg") && !page.contains("src=") && !page.contains("href="), "refers to nothing outside")
      #expect(try readFile(folder.path + "/report/summary.svg").hasPrefix("<svg"))
      let history = Command(
        binaries.bench, ["history", "--scenarios", "--file", folder.path + "/report/history.jsonl"])
      #expect(try run(history, seconds: 20).checked().standardOutput.contains("round trip, 1 B, 1 connection"))
    }
  }
}

extension SystemTests.Benchmark {
  /// A scenario with one contender in as many places as there are lists of figures.
  private func result(_ figures: [[Double]], _ metric: Metric) -> ScenarioResult {
    let series = figures.enumerated().map { number, values in
      Series(
        contender: .kernel, label: "", placement: Placement(app: 0, helper: nil, peer: number),
        samples: values.map { Sample(figures: [metric.name: $0]) })
    }
    return ScenarioResult(name: "", group: "", metrics: [metric], series: series)
  }

  @Test("a place is tried again while its best sample comes near the best median, and quoted only by several samples")
  func places() {
    let first = result([[10], [7.5], [6], [0.1]], .gigabits)
    #expect(first.hopeful(.kernel).map(\.peer) == [0, 1], "6 of 10 is out of reach")
    #expect(first.best(.kernel)?.placement.peer == 0)
    let sunk = result([[10, 5], [7.5, 5], [6], [0.1]], .gigabits)
    #expect(sunk.hopeful(.kernel).map(\.peer) == [0, 1], "medians of 7.5 and 6.25")
    #expect(result([[10, 5, 5], [7.5, 5, 5], [6]], .gigabits).best(.kernel)?.placement.peer == 0, "6 is one sample")
    let times = result([[20], [26], [36]], .median)
    #expect(times.hopeful(.kernel).map(\.peer) == [0, 1])
    #expect(times.hopeful(.kernel, where: \.hasEndsApart).map(\.peer) == [1, 2])
    #expect(result([[], []], .gigabits).hopeful(.kernel).isEmpty)
  }

  @Test("idle connections are as many as descriptors allow")
  func idleCounts() {
    func counts(_ isQuick: Bool, _ limit: Int) -> [Int] {
      Catalogue(isQuick: isQuick, hasBusyPoll: false, descriptorLimit: limit).idleCounts
    }
    #expect(counts(false, 400_000) == [0, 1_000, 10_000, 100_000])
    #expect(counts(false, 20_000) == [0, 1_000, 10_000, 19_000])
    #expect(counts(false, 1_024) == [0, 1_000])
    #expect(counts(true, 20_000) == [10_000])
  }

  @Test("each scenario of the issue's table is in the full list, and what a target needs in the quick one")
  func catalogue() {
    let full = Catalogue(isQuick: false, hasBusyPoll: true, descriptorLimit: 400_000).scenarios
    let quick = Catalogue(isQuick: true, hasBusyPoll: true, descriptorLimit: 400_000).scenarios
    #expect(Set(full.map(\.name)).count == full.count)
    #expect(full.count == 65 && full.contains { $0.name == "churn as client beside 100000 idle connections" })
    let roundTrip = quick.first { $0.name == Catalogue.Name.roundTrip }
    #expect(roundTrip?.isComparedApart == true && roundTrip?.contenders.contains(.netcondBusyPoll) == true)
    #expect(quick.contains { $0.name == Catalogue.Name.idle(Catalogue.Name.idleChurn, beside: 10_000) })
  }
}
