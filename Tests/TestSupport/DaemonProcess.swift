public import Glibc

/// A running `netcond`. Whoever drops the last reference kills it.
public final class DaemonProcess {
  public let home: TemporaryHome
  public let binaries: Binaries
  public let process: ChildProcess
  public var pid: pid_t { process.pid }

  /// Starts a daemon and returns when it serves, that is, when it has written `ready` to its `--ready-fd`.
  /// - Parameters:
  ///   - arguments: options before HOME.
  ///   - wrapper: what starts it, such as setpriv(1), and its arguments.
  ///   - namespace: the network namespace it runs in; nil for this process's own.
  ///   - readySeconds: the bound; IPv6 addresses take a second or two (duplicate address detection, RFC 4862).
  /// - Throws: `SupportError` with its stderr when it ended or was not ready in time.
  public init(
    _ home: TemporaryHome, binaries: Binaries, arguments: [String] = [], through wrapper: [String] = [],
    environment: [String: String] = [:], namespace: NetworkNamespace? = nil, cpu: Int? = nil, readySeconds: Double = 20
  ) throws {
    self.home = home
    self.binaries = binaries
    let words =
      wrapper + [binaries.daemon, "--ready-fd", String(ReadyProcess.descriptor)] + arguments + [home.path]
    var command = Command(words[0], Array(words.dropFirst()))
    command = command.with(environment: environment).pinned(to: cpu)
    if let namespace { command = command.inside(namespace) }
    process = try ReadyProcess(command, seconds: readySeconds).process
  }

  /// TERM (or another signal), then the exit status.
  @discardableResult
  public func stop(signal: Int32 = SIGTERM, seconds: Double = 10) throws -> ExitStatus {
    process.send(signal: signal)
    return try process.wait(seconds: seconds)
  }

  /// SIGKILL, reaped.
  public func kill() { process.kill() }

  public var standardError: String { process.standardError }
  public var descriptorCount: Int { ProcessFacts.descriptorCount(pid) }
  public func residentBytes() throws -> Int { try ProcessFacts.residentBytes(pid) }
  public func cpuSeconds() throws -> Double { try ProcessFacts.cpuSeconds(pid) }

  /// `command`, intercepted on one of this daemon's networks.
  public func intercepted(_ command: Command, on network: NetworkConfiguration) -> Command {
    command.intercepted(library: binaries.library, socketPath: home.socketPath(network))
  }
}
