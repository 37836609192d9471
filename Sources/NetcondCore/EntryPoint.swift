/// Chooses the command by the program's name and first argument; everything else is swift-argument-parser's.
public func netcondMain() {
  let arguments = Array(CommandLine.arguments.dropFirst())
  let program = CommandLine.arguments[0].split(separator: "/").last.map(String.init) ?? ""
  switch (program, arguments.first) {
  case ("zerotier-netcon-service", _): ServeCommand.main(arguments)
  case ("zerotier-cli", _): CLICommand.main(arguments)
  case (_, "run"?): RunCommand.main(Array(arguments.dropFirst()))
  case (_, "status"?): StatusCommand.main(Array(arguments.dropFirst()))
  case (_, "sockets"?): SocketsCommand.main(Array(arguments.dropFirst()))
  default: ServeCommand.main(arguments)
  }
}
