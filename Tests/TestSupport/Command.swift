/// A program to start: what, with which arguments and surroundings. A value; `ChildProcess` starts it.
public struct Command: Sendable {
  /// A path, or a name looked up in PATH.
  public var executable: String
  public var arguments: [String]
  /// Variables added to (or replacing) those of this process.
  public var environment: [String: String] = [:]
  /// Variables of this process that the program does not get. LD_PRELOAD and ZT_NC_NETWORK never pass on by themselves.
  public var withheldEnvironment: Set<String> = ["LD_PRELOAD", "ZT_NC_NETWORK"]

  public init(_ executable: String, _ arguments: [String] = []) {
    self.executable = executable
    self.arguments = arguments
  }

  private func wrapped(_ executable: String, _ arguments: [String]) -> Command {
    var copy = self
    copy.executable = executable
    copy.arguments = arguments + [self.executable] + self.arguments
    return copy
  }

  /// The same program inside a network namespace (`ip netns exec` execs it: the process id stays).
  public func inside(_ namespace: NetworkNamespace) -> Command {
    wrapped("ip", ["netns", "exec", namespace.name])
  }

  /// The same program on one CPU (taskset(1) execs it). nil leaves it as it is.
  public func pinned(to cpu: Int?) -> Command {
    guard let cpu else { return self }
    return wrapped("taskset", ["-c", String(cpu)])
  }

  /// The same program in another working folder (env(1) execs it).
  public func working(in folder: String) -> Command { wrapped("env", ["-C", folder]) }

  /// The same program with more variables.
  public func with(environment added: [String: String]) -> Command {
    var copy = self
    copy.environment.merge(added) { $1 }
    return copy
  }

  /// The same program with the interposed library first, on the network whose socket is `socketPath`.
  public func intercepted(library: String, socketPath: String) -> Command {
    with(environment: ["LD_PRELOAD": library, "ZT_NC_NETWORK": socketPath])
  }
}
