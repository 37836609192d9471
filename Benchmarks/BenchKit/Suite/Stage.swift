internal import Glibc
internal import TestSupport

/// A program's part in a measurement: "app" is the one under the library on our side, and its twin elsewhere.
enum Role: Sendable { case app, peer }

enum Family: String, Sendable { case ipv4 = "IPv4", ipv6 = "IPv6" }

/// Where a contender's programs run. All of it goes with the last reference.
protocol Stage: AnyObject {
  /// The daemon, or the process that translates; nil where the kernel does all.
  var helper: ChildProcess? { get }
  /// Facts that belong to the stage and not to a measurement, by the metric's name.
  var figures: [String: Double] { get }
  /// Puts a command where a program of this role runs.
  func wrap(_ command: Command, _ role: Role) -> Command
  /// What a program of this role binds, or connects to.
  func address(of role: Role, _ family: Family) throws -> String
  /// What the other end calls that address: translators have names of their own for the host.
  func address(of role: Role, _ family: Family, seenBy other: Role) throws -> String
  /// Moves what lies between the programs to its CPUs.
  func place(_ placement: Placement) throws
}

extension Stage {
  var helper: ChildProcess? { nil }
  var figures: [String: Double] { [:] }

  func address(of role: Role, _ family: Family, seenBy other: Role) throws -> String { try address(of: role, family) }

  func place(_ placement: Placement) throws {
    if let helper, let cpu = placement.helper { try Processors.pin(helper.pid, to: cpu) }
  }

  /// Runs `body`, told as an error of the helper when that has ended.
  func watched<Result>(_ body: () throws -> Result) throws -> Result {
    do {
      return try body()
    } catch {
      guard let helper, !helper.isRunning else { throw error }
      throw SupportError("\(helper.command.executable) ended: \(helper.standardError)")
    }
  }
}

/// CPU time of processes and of the machine since it was made.
struct CPUMeter {
  private let pids: [WritableKeyPath<CPUUse, Double>: pid_t]
  private let before: CPUUse

  init(_ stage: any Stage, app: pid_t?, peer: pid_t?) throws {
    var pids: [WritableKeyPath<CPUUse, Double>: pid_t] = [:]
    pids[\.app] = app
    pids[\.peer] = peer
    pids[\.helper] = stage.helper?.pid
    self.pids = pids
    before = try CPUMeter.read(pids)
  }

  /// What was spent since. Programs that have ended tell of themselves: see the callers.
  func use() throws -> CPUUse {
    let now = try CPUMeter.read(pids)
    return CPUUse(
      app: now.app - before.app, helper: now.helper - before.helper, peer: now.peer - before.peer,
      machine: now.machine - before.machine)
  }

  private static func read(_ pids: [WritableKeyPath<CPUUse, Double>: pid_t]) throws -> CPUUse {
    var use = CPUUse()
    for (part, pid) in pids { use[keyPath: part] = try ProcessFacts.cpuSeconds(pid) }
    use.machine = try Processors.busySeconds()
    return use
  }
}
