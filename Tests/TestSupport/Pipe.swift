internal import Glibc

/// Both ends of a pipe(2), close-on-exec. The holder closes them.
struct Pipe {
  var read: Int32
  var write: Int32

  init(read: Int32, write: Int32) {
    self.read = read
    self.write = write
  }

  init() throws {
    var ends: [Int32] = [-1, -1]
    guard pipe(&ends) == 0 else { throw SupportError.systemCall("pipe", "a child's standard streams") }
    for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
    self.init(read: ends[0], write: ends[1])
  }
}
