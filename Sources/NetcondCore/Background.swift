internal import ArgumentParser
internal import FoundationEssentials
internal import Glibc

/// `-d`: the daemon as a session of its own. Spawned, not forked: a forked Swift process may not go on safely; and so the
/// caller learns of errors, because it waits until the daemon serves or has ended.
enum Background {
  static func start(home: String) throws {
    var ends: [Int32] = [-1, -1]
    guard pipe(&ends) == 0 else { throw HomeError(description: "pipe: \(String(cString: strerror(errno)))") }
    let arguments = CommandLine.arguments.dropFirst()
    let path = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
    let readyFd = 3
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    posix_spawn_file_actions_adddup2(&actions, ends[1], Int32(readyFd))
    if ends[0] != Int32(readyFd) { posix_spawn_file_actions_addclose(&actions, ends[0]) }
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDWR, 0)
    posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_RDWR, 0)  // the log goes to standard error
    var attributes = posix_spawnattr_t()
    posix_spawnattr_init(&attributes)
    posix_spawnattr_setflags(&attributes, 0x80)  // POSIX_SPAWN_SETSID (glibc 2.26)
    let words = [CommandLine.arguments[0], "--ready-fd", "\(readyFd)"] + arguments
    var vector = words.map { strdup($0) } + [nil]
    defer { for word in vector { free(word) } }
    var pid: pid_t = 0
    let status = posix_spawn(&pid, path, &actions, &attributes, &vector, environ)
    close(ends[1])
    guard status == 0 else { throw HomeError(description: "\(path): \(String(cString: strerror(status)))") }
    var byte: UInt8 = 0
    if read(ends[0], &byte, 1) == 1 { return }  // it serves
    var exit: Int32 = 0
    waitpid(pid, &exit, 0)
    throw ExitCode(exit & 0x7f == 0 ? exit >> 8 & 0xff : 1)
  }
}
