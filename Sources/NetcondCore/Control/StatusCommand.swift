public import ArgumentParser
internal import ControlPlane
internal import FoundationEssentials

/// `netcond status`: what a running daemon serves, for people.
public struct StatusCommand: ParsableCommand {
  public static let configuration = CommandConfiguration(
    commandName: "netcond status",
    abstract: "Shows networks, programs and counters of a running netcond.")

  @Option(help: "The daemon's home folder.")
  var home: String = Home.defaultPath

  public init() {}

  public func run() throws {
    try ControlFailure.told(by: "netcond status") {
      let client = try ControlClient(home: Home(path: home), port: nil, token: nil)
      let status: StatusDocument = try client.document("/status")
      let networks: [NetworkDocument] = try client.document("/network")
      print(([status.text] + networks.map(\.text)).joined(separator: "\n"))
    }
  }
}

extension StatusDocument {
  fileprivate var text: String {
    let daemon = netcond
    let kept =
      [
        "io_uring: \(daemon.ioUring)", "lwIP: \(daemon.lwip)", "control: 127.0.0.1:\(daemon.controlPort)",
      ] + (daemon.busyPoll ? ["busy-poll"] : [])
    let now = [
      "networks: \(daemon.networks)", "programs: \(daemon.programs)", "connections: \(daemon.connections)",
      "sockets: \(daemon.streamSockets + daemon.datagramSockets) (descriptors: \(daemon.descriptorLimit))",
      "frame buffers: \(daemon.frameBuffers.free) of \(daemon.frameBuffers.total) free",
      "send buffers: \(daemon.sendBuffers.free) of \(daemon.sendBuffers.total) free",
    ]
    return """
      netcond \(version), pid \(daemon.pid), home \(daemon.home), up \(Self.time(daemon.uptimeSeconds))
        \(kept.joined(separator: "; "))
        \(now.joined(separator: "; "))
        \(told(daemon.counters))
      """
  }

  private static func time(_ seconds: Double) -> String {
    let seconds = Int(seconds)
    let parts = [(seconds / 86_400, "d"), (seconds / 3600 % 24, "h"), (seconds / 60 % 60, "min"), (seconds % 60, "s")]
    let shown = parts.drop { $0.0 == 0 }.prefix(2)
    return shown.isEmpty ? "0 s" : shown.map { "\($0.0) \($0.1)" }.joined(separator: " ")
  }
}

extension NetworkDocument {
  fileprivate var text: String {
    let sockets = netcond.sockets.sorted { $0.key < $1.key }.map { "\($0.key): \($0.value)" }
    let facts =
      ["mtu \(mtu)", "mac \(mac)"] + netcond.routes.map { "route \($0)" } + netcond.nameServers.map { "dns \($0)" }
      + (netcond.outside == "host" ? ["outside=host"] : []) + (netcond.loopback == "host" ? ["loopback=host"] : [])
      + (netcond.impairIn.map { ["impair-in=\($0)"] } ?? []) + (netcond.impairOut.map { ["impair-out=\($0)"] } ?? [])
    let addresses = assignedAddresses.isEmpty ? "no address" : assignedAddresses.joined(separator: ", ")
    return """

      \(nwid)  \(name)  \(status)  \(addresses)
        \(facts.joined(separator: "; "))
        \((["programs: \(netcond.programs)"] + sockets).joined(separator: "; "))
        \(told(netcond.counters))
      """
  }
}

/// Counters that are not 0, in words.
private func told(_ counters: [String: UInt64]) -> String {
  let shown = counters.filter { $0.value > 0 }.sorted { $0.key < $1.key }.map { "\($0.key): \($0.value)" }
  return shown.isEmpty ? "nothing has happened yet" : shown.joined(separator: "; ")
}

extension ControlClient {
  /// What is at a path.
  /// - Throws: `HomeError` with what the daemon said instead, or `ControlError`.
  func document<Document: Decodable>(_ target: String) throws -> Document {
    let response = try send("GET", target)
    guard response.status == 200 else { throw HomeError(description: response.complaint) }
    return try response.decoded()
  }
}

/// How commands that ask a daemon end where it does not answer.
enum ControlFailure {
  /// - Throws: `ExitCode`, when the cause has been told: 2 where home, port or token cannot be known, 1 where nobody answers.
  static func told(by program: String, _ body: () throws -> Void) throws {
    do {
      try body()
    } catch let error as HomeError {
      writeToStandardError("\(program): \(error)\n")
      throw ExitCode(2)  // as the original
    } catch let error as ControlError {
      writeToStandardError("\(program): \(error)\n")
      throw ExitCode(1)
    }
  }
}
