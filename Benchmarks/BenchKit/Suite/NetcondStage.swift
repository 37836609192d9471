internal import TestSupport

/// What the daemon under test says of itself.
struct DaemonFacts: Codable, Sendable {
  /// `netcond -v`.
  var version = ""
  /// What it logs at its start at level info: capabilities of the kernel, networks, limits.
  var log: [String] = []
  var hasBusyPoll = false

  /// Asks the program itself.
  init(_ binaries: Binaries) throws {
    version =
      try run(Command(binaries.daemon, ["-v"]), seconds: 20).checked().standardOutput
      .split(separator: "\n").first.map(String.init) ?? ""
    hasBusyPoll = try run(Command(binaries.daemon, ["--help"]), seconds: 20).standardOutput.contains("--busy-poll")
  }
}

/// An intercepted app on a tap, whose other end is the kernel's own stack in a namespace.
final class TapStage: Stage {
  private let peer: NetworkNamespace
  private let network: NetworkConfiguration
  let daemon: DaemonProcess
  var helper: ChildProcess? { daemon.process }

  init(_ binaries: Binaries, isBusyPolling: Bool = false) throws {
    peer = try Namespaces.make("tp")
    let tap = UniqueName.interface("nb")
    network = NetworkConfiguration(link: "tap:" + tap, addresses: Address.all(.app))
    daemon = try DaemonProcess(
      TemporaryHome([network]), binaries: binaries,
      arguments: ["--log-level", "info"] + (isBusyPolling ? ["--busy-poll"] : []))
    try peer.adopt(
      tap, addresses: Address.all(.peer) + Address.morePeers.map { $0 + Address.prefix.ipv4 })
  }

  func wrap(_ command: Command, _ role: Role) -> Command {
    role == .app ? daemon.intercepted(command, on: network) : command.inside(peer)
  }

  func address(of role: Role, _ family: Family) -> String { Address.of(role, family) }
}

/// Two intercepted programs: on one network, or each on its own, joined by a hub.
final class InterceptedPairStage: Stage {
  private let networks: [NetworkConfiguration]
  private let daemon: DaemonProcess
  var helper: ChildProcess? { daemon.process }

  init(_ binaries: Binaries, areOnOneNetwork: Bool) throws {
    let hub = "hub:" + UniqueName.interface("h")
    let app = NetworkConfiguration(link: hub, addresses: Address.all(.app))
    networks = areOnOneNetwork ? [app] : [app, NetworkConfiguration(link: hub, addresses: Address.all(.peer))]
    daemon = try DaemonProcess(TemporaryHome(networks), binaries: binaries)
  }

  private func network(of role: Role) -> NetworkConfiguration {
    role == .app ? networks[0] : networks[networks.count - 1]
  }

  func wrap(_ command: Command, _ role: Role) -> Command { daemon.intercepted(command, on: network(of: role)) }

  func address(of role: Role, _ family: Family) -> String {
    Address.of(networks.count == 1 ? .app : role, family)
  }
}
