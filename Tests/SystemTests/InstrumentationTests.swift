import TestSupport
import Testing

extension SystemTests {
  /// Programs under tools that watch their memory, and the library built with such tools itself.
  @Suite struct Instrumentation {
    private static let arguments = [Address.left]

    private func check(_ command: Command) throws {
      let done = try run(command, seconds: 60)
      #expect(done.status == .exited(0), "\(done)")
      #expect(done.standardOutput == "ok\n")
      #expect(done.standardError.isEmpty, "\(done.standardError)")
    }

    @Test(
      "an intercepted program under valgrind: no error, nothing on stderr", .needs("valgrind"),
      .needsOwnAddresses)
    func valgrind() throws {
      let stage = try HubStage()
      let program = try CProgram("transfer")
      let options = ["-q", "--error-exitcode=99", "--leak-check=full", "--errors-for-leak-kinds=definite,possible"]
      try check(stage.onLeft(Command("valgrind", options + [program.path] + Instrumentation.arguments)))
    }

    @Test(
      "a program built with AddressSanitizer, its runtime before the library or told not to mind",
      .needsOwnAddresses)
    func addressSanitizer() throws {
      let stage = try HubStage()
      let program = try CProgram("transfer", flags: ["-fsanitize=address", "-fno-sanitize-recover=all"])
      let plain = stage.onLeft(program.command(Instrumentation.arguments))
      let library = stage.binaries.library
      let runtime = try run(Command("gcc", ["-print-file-name=libasan.so"]), seconds: 10).checked().standardOutput
      try check(plain.with(environment: ["LD_PRELOAD": runtime.dropLast() + ":" + library]))
      try check(plain.with(environment: ["ASAN_OPTIONS": "verify_asan_link_order=0"]))
    }

    @Test(
      "the library built with a sanitizer", .needsOwnAddresses,
      arguments: ["address", "undefined", "thread"])
    func library(sanitizer: String) throws {
      let python = try #require(Requirements.python)
      let script = Binaries.packageRoot + "/Tests/intercept/run.py"
      let process = try ChildProcess(Command(python, [script, "--sanitizer", sanitizer]))
      let status = try process.wait(seconds: 150)
      let lines = process.standardOutput.split(separator: "\n")
      #expect(status == .exited(0), "\(lines.filter { $0.hasPrefix("FAIL ") })\(process.standardError)")
      #expect(lines.count { $0.hasPrefix("ok ") } >= 53)

      let folder = try TemporaryFolder("san")
      let build = Command(python, [script, "--sanitizer", sanitizer, "--build", folder.path])
      let preload = try run(build, seconds: 60).checked().standardOutput.dropLast()
      let stage = try HubStage()
      let program = try CProgram("transfer")
      let options = "halt_on_error=1:exitcode=99"
      try check(
        stage.onLeft(program.command(Instrumentation.arguments)).with(environment: [
          "LD_PRELOAD": String(preload), "ASAN_OPTIONS": options + ":detect_leaks=0",
          "TSAN_OPTIONS": options + ":die_after_fork=0", "UBSAN_OPTIONS": options,
        ]))
    }
  }
}
