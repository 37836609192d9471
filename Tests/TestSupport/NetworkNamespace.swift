/// A network namespace of its own name (ip-netns(8)), with lo up, deleted with the last reference. What stands in it is
/// the kernel's own TCP/IP: the oracle that the daemon's network is compared with.
public final class NetworkNamespace {
  public let name: String

  public init(_ purpose: String) throws {
    name = "nct-\(UniqueName.suffix())-\(purpose)"
    Cleanup.add(namespace: name)  // before it is there: a signal may end ip(8) half-way
    try TestSupport.run(Command("ip", ["netns", "add", name]), seconds: 10).checked()
    try ip(["link", "set", "lo", "up"])
  }

  deinit { remove() }

  /// Deletes it now; devices in it go too.
  public func remove() {
    _ = try? TestSupport.run(Command("ip", ["netns", "del", name]), seconds: 10)
    Cleanup.remove(namespace: name)
  }

  /// Runs a program inside, to its end.
  public func run(_ command: Command, seconds: Double = 20) throws -> Completed {
    try TestSupport.run(command.inside(self), seconds: seconds)
  }

  /// Runs ip(8) inside.
  public func ip(_ arguments: [String]) throws {
    try TestSupport.run(Command("ip", ["-n", name] + arguments), seconds: 10).checked()
  }

  /// Sets a sysctl inside, as `net/ipv4/tcp_tw_reuse`.
  public func set(sysctl path: String, _ value: String) throws {
    try run(Command("sh", ["-c", "echo '\(value)' > /proc/sys/\(path)"])).checked()
  }

  /// Gives an interface its addresses (CIDR) and brings it up. IPv6 addresses skip duplicate address detection.
  public func configure(_ interface: String, addresses: [String], mtu: Int? = nil) throws {
    if let mtu { try ip(["link", "set", interface, "mtu", String(mtu)]) }
    for address in addresses {
      let isIPv6 = address.contains(":")
      try ip((isIPv6 ? ["-6"] : []) + ["address", "add", address, "dev", interface] + (isIPv6 ? ["nodad"] : []))
    }
    try ip(["link", "set", interface, "up"])
  }

  /// Takes an interface of this process's namespace (a tap that a daemon made; its descriptor keeps working) inside.
  public func adopt(_ interface: String, addresses: [String], mtu: Int? = nil) throws {
    try TestSupport.run(Command("ip", ["link", "set", interface, "netns", name]), seconds: 10).checked()
    try configure(interface, addresses: addresses, mtu: mtu)
  }

  /// Connects two namespaces by a veth pair.
  /// - Returns: the interface's name on this side and on the other.
  public func connect(
    to other: NetworkNamespace, addresses: [String], otherAddresses: [String]
  ) throws -> (String, String) {
    let (mine, theirs) = (UniqueName.interface("va"), UniqueName.interface("vb"))
    try ip(["link", "add", mine, "type", "veth", "peer", "name", theirs, "netns", other.name])
    try configure(mine, addresses: addresses)
    try other.configure(theirs, addresses: otherAddresses)
    return (mine, theirs)
  }
}
