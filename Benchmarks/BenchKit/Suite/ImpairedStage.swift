internal import TestSupport

/// An app and a peer on a path that delays and loses: `Relay`'s first device stands on the app's side, its second in the
/// peer's namespace. The kernel's app runs in the first device's namespace; ours behind a tap that a bridge joins to it.
final class ImpairedStage: Stage {
  private let near: NetworkNamespace
  private let far: NetworkNamespace
  private let relay: ChildProcess
  private let network: NetworkConfiguration?
  private let daemon: DaemonProcess?
  var helper: ChildProcess? { daemon?.process }

  init(_ contender: Contender, _ impairment: Impairment, _ binaries: Binaries) throws {
    let congestionControl = contender == .kernelBBR ? Congestion.bbr : Congestion.cubic
    near = try Namespaces.make("ia")
    far = try Namespaces.make("ib")
    let (first, second) = (UniqueName.interface("ra"), UniqueName.interface("rb"))
    let arguments = [
      "relay", "--tap", first, "--tap", second, "--delay-milliseconds",
      String(Double(impairment.roundTripMilliseconds) / 2),
      "--loss-percent", String(impairment.lossPercent), "--ready-fd", String(ReadyProcess.descriptor),
    ]
    relay = try ReadyProcess(Command(binaries.bench, arguments), seconds: 20).process
    try far.adopt(second, addresses: Address.all(.peer))
    try Namespaces.set(congestionControl: congestionControl, in: far)
    guard contender.isNetcond else {
      try near.adopt(first, addresses: Address.all(.app))
      try Namespaces.set(congestionControl: congestionControl, in: near)
      (network, daemon) = (nil, nil)
      return
    }
    let tap = UniqueName.interface("nb")
    let network = NetworkConfiguration(link: "tap:" + tap, addresses: Address.all(.app))
    daemon = try DaemonProcess(TemporaryHome([network]), binaries: binaries)
    self.network = network
    try near.adopt(first, addresses: [])
    try near.adopt(tap, addresses: [])
    let bridge = UniqueName.interface("br")
    try near.ip(["link", "add", bridge, "type", "bridge"])
    for device in [first, tap] { try near.ip(["link", "set", device, "master", bridge]) }
    try near.ip(["link", "set", bridge, "up"])
  }

  func wrap(_ command: Command, _ role: Role) -> Command {
    guard role == .app else { return command.inside(far) }
    guard let daemon, let network else { return command.inside(near) }
    return daemon.intercepted(command, on: network)
  }

  func address(of role: Role, _ family: Family) -> String { Address.of(role, family) }

  func place(_ placement: Placement) throws {
    if let daemon, let cpu = placement.helper { try Processors.pin(daemon.pid, to: cpu) }
    try Processors.pin(relay.pid, to: placement.peer)
  }
}
