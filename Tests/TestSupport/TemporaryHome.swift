internal import Glibc

/// One network of a daemon: what its .conf file says.
public struct NetworkConfiguration: Sendable {
  public var id: String
  /// `hub:NAME` or `tap:NAME`.
  public var link: String
  /// CIDR, IPv4 and IPv6.
  public var addresses: [String]
  /// Further lines, as `mtu=9000`.
  public var lines: [String]

  public init(link: String, addresses: [String], lines: [String] = []) {
    id = UniqueName.networkID()
    self.link = link
    self.addresses = addresses
    self.lines = lines
  }

  var text: String { (["link=\(link)"] + addresses.map { "address=\($0)" } + lines).joined(separator: "\n") + "\n" }
}

/// A daemon's home folder with its networks, removed with the last reference.
public final class TemporaryHome {
  private let folder: TemporaryFolder
  public var path: String { folder.path }
  public var networksFolder: String { path + "/networks.d" }

  public init(_ networks: [NetworkConfiguration] = []) throws {
    folder = try TemporaryFolder("h")
    guard mkdir(networksFolder, 0o755) == 0 else { throw SupportError.systemCall("mkdir", networksFolder) }
    for network in networks { try write(network.id + ".conf", network.text) }
  }

  /// Writes a file into networks.d and returns its path.
  @discardableResult
  public func write(_ name: String, _ text: String) throws -> String {
    let file = networksFolder + "/" + name
    try writeFile(file, text)
    return file
  }

  /// The unix socket of a network: the value of ZT_NC_NETWORK.
  public func socketPath(_ network: NetworkConfiguration) -> String { path + "/nc_" + network.id }
}
