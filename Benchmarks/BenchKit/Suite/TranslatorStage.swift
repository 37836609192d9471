internal import Glibc
internal import TestSupport

/// pasta and slirp4netns: the app has the kernel's stack in a namespace of its own, whose only interface is a tap; a
/// process at its other end turns connections into sockets of the host, here a second namespace where the peer runs.
final class TranslatorStage: Stage {
  private let app: NetworkNamespace
  private let host: NetworkNamespace
  private let process: ChildProcess
  private let hostAddress: String
  var helper: ChildProcess? { process }

  private enum Tap {
    static let slirp = "tap0"
    static let pasta = "pasta0"
  }

  init(_ contender: Contender) throws {
    app = try Namespaces.make("sa")
    host = try Namespaces.make("sh")
    // /run/netns or /var/run/netns: where ip(8) keeps the names (ip-netns(8)).
    let path = "/run/netns/" + app.name
    let arguments: [String]
    switch contender {
    case .slirp4netns:
      hostAddress = "10.0.2.2"  // of the host's loopback: slirp4netns(1)
      arguments = ["--configure", "--mtu=65520", "--disable-dns", "--netns-type=path", path, Tap.slirp]
    default:
      // pasta copies address and route of an interface with a default route (pasta(1)); its gateway is the host's loopback.
      hostAddress = "10.78.9.254"
      let outside = UniqueName.interface("pa")
      let other = UniqueName.interface("pb")
      try host.ip(["link", "add", outside, "type", "veth", "peer", "name", other])
      try host.ip(["link", "set", other, "up"])
      try host.configure(outside, addresses: ["10.78.9.1/24"])
      try host.ip(["route", "add", "default", "via", hostAddress, "dev", outside])
      arguments = [
        "-f", "-e", "-q", "-4", "--runas", "0", "--config-net", "-I", Tap.pasta, "-t", "none", "-u", "none", "-T",
        "none",
        "-U", "none", "--netns", path,
      ]
    }
    process = try ChildProcess(Command(contender.rawValue, arguments).inside(host))
    let (namespace, started) = (app, process)
    try waitUntil("\(contender.rawValue) to configure its namespace", seconds: 20) {
      guard started.isRunning else { throw SupportError("\(contender.rawValue) ended: \(started.standardError)") }
      return try TestSupport.run(
        Command("ip", ["-n", namespace.name, "-4", "route", "show", "default"]), seconds: 10
      ).standardOutput.contains("default")
    }
  }

  func wrap(_ command: Command, _ role: Role) -> Command { command.inside(role == .app ? app : host) }

  func address(of role: Role, _ family: Family) throws -> String {
    guard role == .peer, family == .ipv4 else {
      throw SupportError("translators are measured with an IPv4 client inside")
    }
    return "127.0.0.1"
  }

  func address(of role: Role, _ family: Family, seenBy other: Role) -> String { hostAddress }
}
