internal import Glibc

/// posix_spawn(3) with a clean signal state, the given descriptors, and nothing else inherited on purpose.
enum Spawner {
  /// Above all numbers that a child is given descriptors under.
  private static let firstSource: Int32 = 64

  /// - Parameters:
  ///   - command: what to start.
  ///   - descriptors: child's number → this process's descriptor; each is dup2'ed, so close-on-exec does not matter.
  /// - Throws: `SupportError` naming the program that could not be started.
  static func spawn(_ command: Command, descriptors: [Int32: Int32]) throws -> pid_t {
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    // The actions run one after another: a source must not have a number that an earlier one overwrote.
    let sources = descriptors.mapValues { fcntl($0, F_DUPFD_CLOEXEC, Spawner.firstSource) }
    defer { for source in sources.values { close(source) } }
    for (child, source) in sources { posix_spawn_file_actions_adddup2(&actions, source, child) }

    var attributes = posix_spawnattr_t()
    posix_spawnattr_init(&attributes)
    defer { posix_spawnattr_destroy(&attributes) }
    var none = sigset_t()
    sigemptyset(&none)
    var all = sigset_t()
    sigfillset(&all)
    posix_spawnattr_setsigmask(&attributes, &none)
    posix_spawnattr_setsigdefault(&attributes, &all)
    posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF))

    var pid: pid_t = 0
    let result = withCStrings([command.executable] + command.arguments) { arguments in
      withCStrings(environment(of: command)) { environment in
        posix_spawnp(&pid, command.executable, &actions, &attributes, arguments, environment)
      }
    }
    guard result == 0 else {
      throw SupportError.systemCall("posix_spawnp", command.executable, errno: result)
    }
    return pid
  }

  private static func environment(of command: Command) -> [String] {
    var variables = Environment.all
    for name in command.withheldEnvironment { variables[name] = nil }
    variables.merge(command.environment) { $1 }
    return variables.map { "\($0.key)=\($0.value)" }.sorted()
  }

  private static func withCStrings<Result>(
    _ strings: [String], _ body: ([UnsafeMutablePointer<CChar>?]) -> Result
  ) -> Result {
    let copies: [UnsafeMutablePointer<CChar>?] = strings.map { strdup($0) }
    defer { copies.forEach { free($0) } }
    return body(copies + [nil])
  }
}
