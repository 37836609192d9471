internal import Glibc

/// Chooses the command by the program's name and first argument; everything else is swift-argument-parser's.
public func netcondMain() {
  let arguments = Array(CommandLine.arguments.dropFirst())
  let program = CommandLine.arguments[0].split(separator: "/").last.map(String.init) ?? ""
  switch (program, arguments.first) {
  case ("zerotier-netcon-service", _): ServeCommand.main(arguments)
  case ("zerotier-cli", _):
    leaveNetwork()
    CLICommand.main(arguments)
  case (_, "run"?): RunCommand.main(Array(arguments.dropFirst()))
  case (_, "status"?):
    leaveNetwork()
    StatusCommand.main(Array(arguments.dropFirst()))
  case (_, "sockets"?):
    leaveNetwork()
    SocketsCommand.main(Array(arguments.dropFirst()))
  default: ServeCommand.main(arguments)
  }
}

/// Starts this program anew without the network that it was started on: the daemon's port is the host's, and in an
/// intercepted shell 127.0.0.1 would be the network's own.
private func leaveNetwork() {
  guard let network = getenv("ZT_NC_NETWORK"), network.pointee != 0 else { return }
  setenv("ZT_NC_NETWORK", "", 1)  // to the library: no network; it would keep a variable that is only unset
  var vector = CommandLine.arguments.map { strdup($0) } + [nil]
  execv("/proc/self/exe", &vector)
}
