internal import ArgumentParser
internal import Glibc
internal import TestSupport

/// `netcond-bench serve`.
struct ServeCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "serve", abstract: "Serves all scenarios until it is ended.")

  @Option(help: "IPv4 or IPv6 address to bind.")
  var address: String

  @Option(help: "Port; 0 chooses one and tells it on the ready descriptor.")
  var port: UInt16 = 0

  @Option(help: "Descriptor that gets 'ready PORT' and is closed once the server listens.")
  var readyFd: Int32?

  @Flag(help: "Print one JSON line for each finished transfer.")
  var log = false

  func run() throws {
    signal(SIGPIPE, SIG_IGN)
    raiseDescriptorLimit()
    let server = try Server(Endpoint(address: address, port: port), logs: log)
    try ReadyLine.write("ready \(try server.port())", to: readyFd)
    try server.run()
  }
}

/// What a program writes once it serves.
enum ReadyLine {
  /// Writes the line to the descriptor and closes it; does nothing without one.
  static func write(_ text: String, to descriptor: Int32?) throws(SupportError) {
    guard let descriptor else { return }
    let line = Array((text + "\n").utf8)
    guard Glibc.write(descriptor, line, line.count) == line.count else {
      throw SupportError.systemCall("write", "--ready-fd \(descriptor)")
    }
    close(descriptor)
  }
}

/// As many descriptors as this process may have (getrlimit(2)); what that does not suffice for fails by itself.
func raiseDescriptorLimit() {
  var limit = rlimit()
  getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
  limit.rlim_cur = limit.rlim_max
  setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
}
