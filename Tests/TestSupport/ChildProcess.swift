public import Glibc

/// A child process with bounded waits. Its output goes to files (nothing can block on a full pipe), or, for an
/// interactive child, stdin and stdout are pipes. Whoever drops the last reference ends the process.
public final class ChildProcess {
  public let pid: pid_t
  public let command: Command
  /// Set once the process has been reaped.
  public private(set) var status: ExitStatus?

  private let folder: TemporaryFolder
  private let input: Int32
  private let output: Int32
  private var buffered: [UInt8] = []

  /// Starts `command`.
  /// - Parameters:
  ///   - isInteractive: connects stdin and stdout by pipes, for `writeLine` and `readLine`.
  ///   - passing: child's descriptor number → this process's descriptor.
  /// - Throws: `SupportError` when it cannot be started.
  public init(_ command: Command, isInteractive: Bool = false, passing: [Int32: Int32] = [:]) throws {
    self.command = command
    folder = try TemporaryFolder("out")
    let nothing = open("/dev/null", O_RDONLY | O_CLOEXEC)
    let outputFile = try ChildProcess.create(folder.path + "/stdout")
    let errorFile = try ChildProcess.create(folder.path + "/stderr")
    var descriptors = passing
    var toChild = Pipe(read: nothing, write: -1)
    var fromChild = Pipe(read: -1, write: outputFile)
    if isInteractive {
      toChild = try Pipe()
      fromChild = try Pipe()
    }
    descriptors[0] = toChild.read
    descriptors[1] = fromChild.write
    descriptors[2] = errorFile
    defer {
      for descriptor in Set([nothing, outputFile, errorFile, toChild.read, fromChild.write]) { close(descriptor) }
    }
    input = toChild.write
    output = fromChild.read
    pid = try Cleanup.process { try Spawner.spawn(command, descriptors: descriptors) }
  }

  private static func create(_ path: String) throws -> Int32 {
    let file = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0o600)
    guard file >= 0 else { throw SupportError.systemCall("open", path) }
    return file
  }

  deinit {
    kill()
    if input >= 0 { close(input) }
    if output >= 0 { close(output) }
  }

  /// Whether it has not ended yet.
  public var isRunning: Bool { poll() == nil }

  /// The status if the process has ended, without waiting.
  public func poll() -> ExitStatus? {
    if let status { return status }
    var raw: Int32 = 0
    guard waitpid(pid, &raw, WNOHANG) == pid else { return nil }
    return reaped(raw)
  }

  private func reaped(_ raw: Int32) -> ExitStatus {
    let result = ExitStatus(waitStatus: raw)
    status = result
    Cleanup.remove(process: pid)
    return result
  }

  /// Waits until the process ends.
  /// - Throws: `SupportError` when it did not within `seconds`; it is killed then, and what it wrote is told.
  @discardableResult
  public func wait(seconds: Double) throws -> ExitStatus {
    do {
      try waitUntil("end of \(command.executable)", seconds: seconds) { poll() != nil }
    } catch {
      kill()
      throw SupportError("\(error) (killed)\n--- stdout\n\(standardOutput)\n--- stderr\n\(standardError)")
    }
    return status ?? .exited(-1)
  }

  public func send(signal: Int32) {
    guard status == nil else { return }
    Glibc.kill(pid, signal)
  }

  /// SIGKILL and reap; does nothing when the process has ended.
  public func kill() {
    guard status == nil, poll() == nil else { return }
    Glibc.kill(pid, SIGKILL)
    var raw: Int32 = 0
    while waitpid(pid, &raw, 0) < 0 && errno == EINTR {}
    _ = reaped(raw)
  }

  /// What it has written so far (empty for stdout of an interactive child: that comes by `readLine`).
  public var standardOutput: String { (try? readFile(folder.path + "/stdout")) ?? "" }
  public var standardError: String { (try? readFile(folder.path + "/stderr")) ?? "" }

  /// Writes one line to an interactive child's stdin.
  public func writeLine(_ line: String) throws {
    let bytes = Array((line + "\n").utf8)
    guard write(input, bytes, bytes.count) == bytes.count else {
      throw SupportError.systemCall("write", "stdin of \(command.executable)")
    }
  }

  /// The next line of an interactive child's stdout, without the newline.
  /// - Throws: `SupportError` when none came within `seconds`, or the child closed its stdout.
  public func readLine(seconds: Double) throws -> String {
    let deadline = monotonicSeconds() + seconds
    while true {
      if let end = buffered.firstIndex(of: UInt8(ascii: "\n")) {
        defer { buffered.removeSubrange(...end) }
        return String(decoding: buffered[..<end], as: UTF8.self)
      }
      var waiting = pollfd(fd: output, events: Int16(POLLIN), revents: 0)
      let left = max(0, deadline - monotonicSeconds())
      guard Glibc.poll(&waiting, 1, Int32(left * 1000) + 1) > 0 else {
        throw SupportError("no line from \(command.executable) within \(seconds) s\n\(standardError)")
      }
      var chunk = [UInt8](repeating: 0, count: 4096)
      let count = read(output, &chunk, chunk.count)
      guard count > 0 else { throw SupportError("\(command.executable) closed its stdout\n\(standardError)") }
      buffered += chunk[..<count]
    }
  }
}

/// Runs `command` to its end.
/// - Parameter seconds: the bound; the process is killed when it passes.
/// - Throws: `SupportError` when it cannot be started or does not end in time.
public func run(_ command: Command, seconds: Double) throws -> Completed {
  let child = try ChildProcess(command)
  let status = try child.wait(seconds: seconds)
  return Completed(
    command: ([command.executable] + command.arguments).joined(separator: " "), status: status,
    standardOutput: child.standardOutput, standardError: child.standardError)
}
