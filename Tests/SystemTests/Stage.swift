import TestSupport
import Testing

/// All whole-daemon tests, one after another: two cores carry a daemon, its programs and their peers, and some tests
/// bound seconds.
@Suite("the whole daemon with real programs", .serialized, .timeLimit(.minutes(4)))
enum SystemTests {}

extension Trait where Self == ConditionTrait {
  /// Named skip: a tap and namespaces need root and /dev/net/tun.
  static var needsTap: Self {
    .enabled(if: Requirements.hasTap, "needs root, a /dev/net/tun that opens, and ip(8) for taps and namespaces")
  }

  /// Named skip: the daemon has the packaged lwIP (NETCOND_LWIP=system), without the source build's hooks.
  static func needsSource(_ lack: String) -> Self {
    .enabled(if: Environment["NETCOND_LWIP"] != "system", "the packaged lwIP lacks \(lack)")
  }

  /// The same of tests in which a network speaks to its own addresses.
  static var needsOwnAddresses: Self { needsSource("a loopback for a network's own addresses") }

  /// Named skip: a program that the test runs is not installed.
  static func needs(_ program: String) -> Self {
    .enabled(if: Requirements.hasProgram(program), "needs the program \(program)")
  }
}

/// Addresses that a stage uses. They are visible inside one daemon or one namespace only, so runs in parallel share
/// them.
enum Address {
  static let left = "10.77.1.1"
  static let right = "10.77.1.2"
  static let left6 = "fd77:1::1"
  static let right6 = "fd77:1::2"
  static let app = "10.77.2.1"
  static let peer = "10.77.2.2"
  static let app6 = "fd77:2::1"
  static let peer6 = "fd77:2::2"
}

/// A daemon with two networks on one hub: no privilege, no kernel in between.
final class HubStage {
  let left: NetworkConfiguration
  let right: NetworkConfiguration
  let binaries: Binaries
  let home: TemporaryHome
  var daemon: DaemonProcess

  /// - Parameter lines: further lines of the right network's file.
  init(ipv6: Bool = false, lines: [String] = [], environment: [String: String] = [:]) throws {
    binaries = try Binaries.located()
    let hub = "hub:h" + UniqueName.suffix()
    left = NetworkConfiguration(
      link: hub, addresses: ["\(Address.left)/24"] + (ipv6 ? ["\(Address.left6)/64"] : []))
    right = NetworkConfiguration(
      link: hub, addresses: ["\(Address.right)/24"] + (ipv6 ? ["\(Address.right6)/64"] : []), lines: lines)
    home = try TemporaryHome([left, right])
    daemon = try DaemonProcess(home, binaries: binaries, environment: environment)
  }

  /// A fresh daemon on the same home, after the former ended.
  func restart() throws { daemon = try DaemonProcess(home, binaries: binaries) }

  func onLeft(_ command: Command) -> Command { daemon.intercepted(command, on: left) }
  func onRight(_ command: Command) -> Command { daemon.intercepted(command, on: right) }
}

/// A daemon with one network on a tap whose other end is the kernel's stack in a namespace.
final class TapStage {
  let network: NetworkConfiguration
  let tap: String
  let binaries: Binaries
  let namespace: NetworkNamespace
  let home: TemporaryHome
  let daemon: DaemonProcess

  /// - Parameter lines: further lines of the network's file.
  init(ipv6: Bool = false, mtu: Int? = nil, lines: [String] = [], environment: [String: String] = [:]) throws {
    binaries = try Binaries.located()
    tap = UniqueName.interface("nt")
    network = NetworkConfiguration(
      link: "tap:" + tap, addresses: ["\(Address.app)/24"] + (ipv6 ? ["\(Address.app6)/64"] : []),
      lines: (mtu.map { ["mtu=\($0)"] } ?? []) + lines)
    namespace = try NetworkNamespace("k")
    home = try TemporaryHome([network])
    daemon = try DaemonProcess(home, binaries: binaries, environment: environment)
    try namespace.adopt(
      tap, addresses: ["\(Address.peer)/24"] + (ipv6 ? ["\(Address.peer6)/64"] : []), mtu: mtu)
  }

  /// The app's side: intercepted.
  func app(_ command: Command) -> Command { daemon.intercepted(command, on: network) }
  /// The kernel's side.
  func kernel(_ command: Command) -> Command { command.inside(namespace) }
}
