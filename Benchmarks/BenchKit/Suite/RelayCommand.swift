internal import ArgumentParser

/// `netcond-bench relay`: runs until it is ended.
struct RelayCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "relay", abstract: "Joins two TAP devices by a wire that delays and loses frames.",
    shouldDisplay: false)

  @Option(help: "The two devices; made where they are missing.")
  var tap: [String]

  @Option(help: "Delay, one way.")
  var delayMilliseconds: Double

  @Option(help: "Frames lost, each way.")
  var lossPercent: Double

  @Option(help: "Chooses which frames are lost.")
  var seed: UInt64 = 1

  @Option(help: "Descriptor that gets 'ready' once the devices are there.")
  var readyFd: Int32?

  func validate() throws {
    guard tap.count == 2 else { throw ValidationError("--tap twice") }
    guard delayMilliseconds >= 0, (0...100).contains(lossPercent) else {
      throw ValidationError("--delay-milliseconds is not negative, --loss-percent is 0 to 100")
    }
  }

  func run() throws {
    var relay = try Relay(
      taps: (tap[0], tap[1]), delaySeconds: delayMilliseconds / 1000, loss: lossPercent / 100, seed: seed)
    try ReadyLine.write("ready", to: readyFd)
    try relay.run()
  }
}
