import TestSupport
import Testing

extension SystemTests {
  /// Tests/differential: the same programs between two kernel namespaces and intercepted print the same.
  @Suite struct Differential {
    @Test(
      "every scenario prints intercepted what it prints natively", .needsTap, .needs("cc"),
      .needsSource("much that the kernel has, as README tells"))
    func scenarios() throws {
      // Scenarios that vanished from the build would not be missed otherwise (issue 3: 60 scenarios, 200 assertions).
      try check([], least: 400)
    }

    @Test(
      "the same of streams with --busy-poll, where the library looks before it sleeps", .needsTap, .needs("cc"),
      .needsSource("much that the kernel has, as README tells"))
    func polling() throws {
      try check(
        ["--busy-poll", "--only", "stream_", "--only", "ending_", "--only", "polling_", "--only", "threads_"], least: 60
      )
    }

    private func check(_ arguments: [String], least: Int) throws {
      let binaries = try Binaries.located()
      let python = try #require(Requirements.python)
      let script = Binaries.packageRoot + "/Tests/differential/run.py"
      let process = try ChildProcess(Command(python, [script, "--bin-dir", binaries.folder] + arguments))
      let status = try process.wait(seconds: 220)
      let lines = process.standardOutput.split(separator: "\n")
      let unequal = lines.filter { !$0.hasPrefix("ok ") }
      #expect(status == .exited(0), "\(unequal.joined(separator: "\n"))\n\(process.standardError)")
      #expect(lines.count { $0.hasPrefix("ok ") || $0.hasPrefix("pending ") } >= least)
    }
  }
}
