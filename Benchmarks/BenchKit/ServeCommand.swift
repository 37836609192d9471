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
    let server = try Server(Endpoint(address: address, port: port), logs: log)
    if let readyFd {
      let line = Array("ready \(try server.port())\n".utf8)
      guard write(readyFd, line, line.count) == line.count else {
        throw SupportError.systemCall("write", "--ready-fd \(readyFd)")
      }
      close(readyFd)
    }
    try server.run()
  }
}
