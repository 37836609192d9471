import BenchKit
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
      let churn = BenchClient.command(binaries, "churn", server.endpoint, ["--count", "100", "--concurrency", "3"])
      let result = try BenchClient.run(churn, seconds: 20)
      #expect(result.connections == 100)
    }

    @Test("compare in small: all workloads on both sides, a table and JSON, and nothing left behind", .needsTap)
    func compare() throws {
      let binaries = try Binaries.located()
      let folder = try TemporaryFolder("cmp")
      let file = folder.path + "/figures.json"
      let command = Command(
        binaries.bench,
        ["compare", "--rounds", "1", "--seconds", "0.05", "--pin", "same", "--json", file, "--bin", binaries.folder])
      let result = try run(command, seconds: 60).checked()
      for workload in ["bulk send", "bulk receive", "churn as client", "churn as server"] {
        #expect(result.standardOutput.contains(workload))
      }
      let figures = try readFile(file)
      #expect(figures.contains("\"verdicts\"") && figures.contains("\"kernel\""))
    }
  }
}
