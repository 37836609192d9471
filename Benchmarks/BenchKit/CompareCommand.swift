internal import ArgumentParser
struct CompareCommand: ParsableCommand {
  func run() throws {}
}
