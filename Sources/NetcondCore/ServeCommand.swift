public import ArgumentParser
internal import ControlPlane
internal import FoundationEssentials
internal import Glibc
internal import Logging
internal import UringLoop

/// Exit codes, from sysexits.h and of the original.
enum ExitStatus {
  static let configuration = ExitCode(78)  // EX_CONFIG
  static let failure = ExitCode(1)
}

public let netcondVersion = "0.1.0"

/// `netcond [options] [HOME]`: serves the networks of a home folder. Also under the original's name,
/// zerotier-netcon-service.
public struct ServeCommand: ParsableCommand {
  public static let configuration = CommandConfiguration(
    commandName: "netcond",
    abstract: "Serves user-space networks to unmodified programs.",
    discussion: """
      HOME/networks.d/<16 hexadecimal digits>.conf describes one network each, as lines of key=value:
        link=hub:NAME | tap:NAME   the wire (default hub:default)
        address=10.1.0.2/24        repeatable, IPv4 and IPv6
        address=auto               IPv6 by router advertisements (SLAAC)
        address=dhcp               IPv4 from a DHCP server
        gateway=10.1.0.1           one per family
        route=10.2.0.0/16 via 10.1.0.9   repeatable; without via: on the link
        dns=10.1.0.53              repeatable: who is asked for names
        search=example.net lab.example.net   where short names are looked for
        outside=deny | host        what is on no route: unreachable (default), or the host's
        loopback=network | host    127.0.0.0/8 and ::1: the network's own (default), or the host's
        mtu=1500                   1280 to 65000 bytes (default: the link's)
        mac=02:00:5e:10:00:01      default: derived from the network and this home

      Programs use a network with  netcond run --home HOME --network ID -- PROGRAM…
      or  ZT_NC_NETWORK=HOME/nc_ID zerotier-intercept PROGRAM…
      netcond status and netcond sockets (--home HOME) show what goes on; zerotier-cli joins and leaves networks.
      """)

  @Flag(name: .short, help: "Show the version and exit.")
  var version = false

  @Flag(
    name: .customShort("U"), help: "Accepted for compatibility: no privilege is asked for beyond what a link needs.")
  var unprivileged = false

  @Option(
    name: [.customShort("p", allowingJoined: true)],
    help: """
      The port of the control interface on 127.0.0.1 and ::1; 0: any. (default: 9993, or any where that is taken; \
      HOME/zerotier-one.port tells)
      """)
  var port: Int?

  @Flag(name: .customShort("d"), help: "Serve in the background; returns when it serves, or with its error.")
  var background = false

  @Flag(
    help: """
      Look for work without sleeping: the shortest round trips, for a whole CPU. It sleeps after a tenth of a second \
      without work.
      """)
  var busyPoll = false

  @Option(help: "trace, debug, info, notice, warning, error or critical.")
  var logLevel: Logger.Level = .notice

  @Option(help: "A descriptor to write \"ready\" and a newline to, and to close, once the networks serve.")
  var readyFd: Int32?

  @Argument(help: "The home folder; made where it is missing.")
  var home: String = Home.defaultPath

  public init() {}

  public func validate() throws {
    if let port, !(0...65535).contains(port) { throw ValidationError("-p takes a port, 0 to 65535, not \(port)") }
  }

  public func run() throws {
    if version {
      print(netcondVersion)
      return
    }
    if background, readyFd == nil { return try Background.start(home: home) }  // with one, this is the child
    var log = Logger(label: "netcond", factory: { _ in StreamLogHandler.standardError(label: "netcond") })
    log.logLevel = logLevel
    do {
      try serve(log)
    } catch let error as ConfigurationErrors {
      for mistake in error.errors { report("\(mistake)") }
      throw ExitStatus.configuration
    } catch let error as HomeError {
      report("\(error)")
      throw ExitStatus.failure
    } catch let error as ControlError {
      report("\(error)")
      throw ExitStatus.failure
    } catch let error as RingError {
      report("\(error)")
      throw ExitStatus.failure
    }
  }

  private func report(_ message: String) {
    writeToStandardError("netcond: \(message)\n")
  }

  private func serve(_ log: Logger) throws {
    let descriptorLimit = raiseDescriptorLimit(log)
    var home = Home(path: home)
    try home.prepare()
    let networks = try home.loadNetworks()
    try home.claim()
    defer { home.release() }
    let control = try openControl(log)
    try home.note(port: control?.port ?? 0)
    var options = Daemon.Options()
    options.descriptorLimit = descriptorLimit
    // Not a flag: only tests and bug hunts want a newer kernel to behave like an older one.
    options.baselineRing = ProcessInfo.processInfo.environment["NETCOND_URING_BASELINE"] == "1"
    if busyPoll { options.spinNanoseconds = 100_000_000 }
    let daemon = try Daemon(options: options, log: log)
    try daemon.open(networks, home: home)
    if let control { daemon.serve(control, home: home) }
    if networks.isEmpty { log.warning("no networks: \(home.networksFolder) has no .conf file") }
    daemon.run {
      log.notice("serving \(networks.count) networks in \(home.path)")
      guard let readyFd else { return }
      _ = write(readyFd, "ready\n", 6)
      close(readyFd)
    }
    log.notice("ended")
  }

  /// The control interface is no reason not to serve, unless a port was asked for.
  private func openControl(_ log: Logger) throws -> ControlServer? {
    do {
      let server = try ControlServer(port: UInt16(port ?? 9993), insists: port != nil)
      log.info("control: 127.0.0.1:\(server.port)")
      return server
    } catch {
      guard port == nil else { throw error }
      log.warning("no control interface: \(error)")
      return nil
    }
  }

  /// Each intercepted socket takes one descriptor here, so as many as the system grants.
  private func raiseDescriptorLimit(_ log: Logger) -> Int {
    var limit = rlimit()
    guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return 1024 }
    limit.rlim_cur = limit.rlim_max
    setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
    log.info("descriptors: \(limit.rlim_cur)")
    return Int(clamping: limit.rlim_cur)
  }
}

func writeToStandardError(_ text: String) {
  let bytes = Array(text.utf8)
  _ = write(STDERR_FILENO, bytes, bytes.count)
}

extension Logger.Level: @retroactive ExpressibleByArgument {}
