internal import ArgumentParser

/// `netcond-bench`: an ordinary socket program, natively or under the interposed library, and what compares the two.
struct BenchCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "netcond-bench",
    abstract: "The benchmark: ordinary socket programs, and what compares netcond with others by them.",
    subcommands: [ServeCommand.self, ClientCommand.self, CompareCommand.self, HistoryCommand.self, RelayCommand.self])
}

/// Runs the command line of this process; ends the process with 64 for wrong usage, 1 for a failure.
public func runBench() { BenchCommand.main() }
