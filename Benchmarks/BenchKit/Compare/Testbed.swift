internal import TestSupport

/// The stage of a comparison: two namespaces joined by veth for the kernel's side, one with a daemon's tap for ours.
/// All of it goes when the testbed goes.
final class Testbed {
  private enum Address {
    static let kernelApp = "10.78.1.1"
    static let kernelPeer = "10.78.1.2"
    static let netcondApp = "10.78.2.1"
    static let netcondPeer = "10.78.2.2"
  }

  private let binaries: Binaries
  private let kernelApp: NetworkNamespace
  private let kernelPeer: NetworkNamespace
  private let netcondPeer: NetworkNamespace
  private let network: NetworkConfiguration
  private let daemon: DaemonProcess

  init(_ binaries: Binaries) throws {
    self.binaries = binaries
    kernelApp = try NetworkNamespace("va")
    kernelPeer = try NetworkNamespace("vb")
    netcondPeer = try NetworkNamespace("tp")
    for namespace in [kernelApp, kernelPeer, netcondPeer] {
      // Churn uses up ports: give it all of them, and those in TIME_WAIT again (ip-sysctl).
      try namespace.set(sysctl: "net/ipv4/ip_local_port_range", "1024 65000")
      try namespace.set(sysctl: "net/ipv4/tcp_tw_reuse", "1")
    }
    _ = try kernelApp.connect(
      to: kernelPeer, addresses: [Address.kernelApp + "/24"], otherAddresses: [Address.kernelPeer + "/24"])
    let tap = UniqueName.interface("nb")
    network = NetworkConfiguration(link: "tap:" + tap, addresses: [Address.netcondApp + "/24"])
    daemon = try DaemonProcess(TemporaryHome([network]), binaries: binaries)
    try netcondPeer.adopt(tap, addresses: [Address.netcondPeer + "/24"])
  }

  /// Whether the daemon still runs: without it nothing more can be measured.
  var isUsable: Bool { daemon.process.isRunning }

  private func wrap(_ command: Command, isApp: Bool, _ side: Side, _ placement: Placement) -> Command {
    let pinned = command.pinned(to: isApp ? placement.app : placement.peer)
    switch (side, isApp) {
    case (.kernel, true): return pinned.inside(kernelApp)
    case (.kernel, false): return pinned.inside(kernelPeer)
    case (.netcond, true): return daemon.intercepted(pinned, on: network)
    case (.netcond, false): return pinned.inside(netcondPeer)
    }
  }

  private func address(isApp: Bool, _ side: Side) -> String {
    switch (side, isApp) {
    case (.kernel, true): Address.kernelApp
    case (.kernel, false): Address.kernelPeer
    case (.netcond, true): Address.netcondApp
    case (.netcond, false): Address.netcondPeer
    }
  }

  /// One measurement with a fresh server, on a fresh port.
  /// - Throws: `SupportError` when an end or the daemon failed, a byte was wrong, or the bound passed.
  func measure(_ workload: Workload, _ side: Side, _ placement: Placement, seconds: Double) throws -> Sample {
    if let cpu = placement.daemon { try Processors.pin(daemon.pid, to: cpu) }
    let server = try BenchServer(binaries, address: address(isApp: workload.isAppServer, side)) {
      wrap($0, isApp: workload.isAppServer, side, placement)
    }
    let client = wrap(
      BenchClient.command(binaries, workload.scenario, server.endpoint, ["--seconds", String(seconds)]),
      isApp: !workload.isAppServer, side, placement)
    let serverBefore = try ProcessFacts.cpuSeconds(server.process.pid)
    let daemonBefore = side == .netcond ? try daemon.cpuSeconds() : 0
    let result: ClientResult
    do {
      result = try BenchClient.run(client, seconds: seconds + 20)
    } catch {
      guard daemon.process.isRunning else { throw SupportError("the daemon ended:\n\(daemon.standardError)") }
      throw error
    }
    let serverSeconds = try ProcessFacts.cpuSeconds(server.process.pid) - serverBefore
    return Sample(
      figure: workload.figure(result), seconds: result.seconds,
      appCPUSeconds: workload.isAppServer ? serverSeconds : result.cpuSeconds,
      daemonCPUSeconds: side == .netcond ? try daemon.cpuSeconds() - daemonBefore : 0,
      peerCPUSeconds: workload.isAppServer ? result.cpuSeconds : serverSeconds)
  }
}
