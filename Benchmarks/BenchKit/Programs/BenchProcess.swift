internal import FoundationEssentials
public import TestSupport

/// `netcond-bench serve` as a child process, natively or intercepted.
public final class BenchServer {
  public let process: ChildProcess
  public let endpoint: Endpoint

  /// Starts a server on a port of the system's choice and returns once it listens.
  /// - Parameter wrap: puts the command where it shall run: in a namespace, on a CPU, under the library.
  public init(_ binaries: Binaries, address: String, logs: Bool = false, _ wrap: (Command) -> Command = { $0 }) throws {
    var arguments = ["serve", "--address", address, "--ready-fd", String(ReadyProcess.descriptor)]
    if logs { arguments.append("--log") }
    let ready = try ReadyProcess(wrap(Command(binaries.bench, arguments)), seconds: 20)
    guard let port = UInt16(ready.word.dropFirst("ready ".count)) else {
      throw SupportError("the server said '\(ready.word)'")
    }
    process = ready.process
    endpoint = try Endpoint(address: address, port: port)
  }

  /// Waits until the log has `count` lines, one per finished transfer, and returns them.
  public func served(_ count: Int, seconds: Double = 20) throws -> [ServedTransfer] {
    var lines: [Substring] = []
    try waitUntil("\(count) transfers in the server's log", seconds: seconds) {
      guard process.isRunning else { throw SupportError("the server ended:\n\(process.standardError)") }
      lines = process.standardOutput.split(separator: "\n")
      return lines.count >= count
    }
    return try lines.map { try decodeLine($0) }
  }
}

/// `netcond-bench client` as a child process.
public enum BenchClient {
  /// The command line for one scenario against a server.
  public static func command(
    _ binaries: Binaries, _ scenario: String, _ endpoint: Endpoint, _ options: [String] = []
  ) -> Command {
    let place = ["--address", endpoint.address, "--port", String(endpoint.port)]
    return Command(binaries.bench, ["client", scenario] + place + options)
  }

  /// Runs it to its end.
  /// - Throws: `SupportError` when it failed, found a wrong byte, or took longer than `seconds`.
  public static func run(_ command: Command, seconds: Double) throws -> ClientResult {
    let completed = try TestSupport.run(command, seconds: seconds)
    guard completed.status.isSuccess, let line = completed.standardOutput.split(separator: "\n").last else {
      throw SupportError(completed.description)
    }
    return try decodeLine(line)
  }
}

private func decodeLine<Value: Decodable>(_ line: Substring) throws -> Value {
  do {
    return try JSONDecoder().decode(Value.self, from: Data(line.utf8))
  } catch {
    throw SupportError("not the JSON line that was expected: \(line)")
  }
}
