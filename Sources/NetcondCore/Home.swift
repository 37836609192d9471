public import Frames
internal import FoundationEssentials
internal import Glibc

/// Why the home folder cannot be used, with what to do about it.
public struct HomeError: Error, CustomStringConvertible, Sendable {
  public let description: String
}

/// The daemon's home folder, with the names of the original (shared/design/compatibility.md).
public struct Home: Sendable {
  public static let defaultPath = "/var/lib/zerotier-one"
  public let path: String
  /// 64 random bits of this home's own, kept in identity.secret.
  public private(set) var identity: UInt64 = 0
  /// This node's address, ten hexadecimal digits, and what may be known of its identity: identity.public.
  public private(set) var address = ""
  public private(set) var publicIdentity = ""
  /// What whoever uses the control interface must know.
  public private(set) var token = ""

  public init(path: String) {
    self.path = path.count > 1 && path.hasSuffix("/") ? String(path.dropLast()) : path
  }

  public var networksFolder: String { path + "/networks.d" }
  public var pidFile: String { path + "/zerotier-one.pid" }
  public var portFile: String { path + "/zerotier-one.port" }
  public var tokenFile: String { path + "/authtoken.secret" }
  public func socketPath(_ id: NetworkID) -> String { path + "/nc_\(id)" }

  /// Makes what is missing: the folder, its identity, the token, the port's file.
  /// - Throws: `HomeError`, naming the path and the cause.
  public mutating func prepare() throws {
    let longest = socketPath(NetworkID(rawValue: 0))
    guard longest.utf8.count < 108 else {  // sun_path, unix(7)
      throw HomeError(
        description: "\(path): too long for unix sockets (\(longest) has over 107 bytes); choose a shorter home")
    }
    try makeFolder(path)
    try makeFolder(networksFolder)
    let text = try loadIdentity()
    identity = Self.fold(text)
    let parts = text.trimmed.split(separator: ":", omittingEmptySubsequences: false)
    address = String(parts[0])
    publicIdentity = parts.prefix(3).joined(separator: ":")
    token = try loadToken()
  }

  private func loadToken() throws -> String {
    if !FileManager.default.fileExists(atPath: tokenFile) {
      try write("authtoken.secret", Self.randomHex(bytes: 16), mode: 0o600)
    }
    let token = try readToken()
    guard !token.isEmpty else {
      throw HomeError(description: "\(tokenFile) is empty; write a token into it, or remove it for a new one")
    }
    return token
  }

  /// - Throws: `HomeError` where the file cannot be read.
  public func readToken() throws -> String {
    guard let text = try? String(contentsOfFile: tokenFile, encoding: .utf8) else { throw failure(tokenFile, errno) }
    return text.trimmed
  }

  private func makeFolder(_ path: String) throws {
    if mkdir(path, 0o755) == 0 || errno == EEXIST {
      guard let folder = opendir(path) else {
        if errno != ENOTDIR { throw failure(path, errno) }
        throw HomeError(description: "\(path) is no folder; remove it or choose another home")
      }
      closedir(folder)
      return
    }
    throw failure(path, errno)
  }

  private func failure(_ path: String, _ code: Int32) -> HomeError {
    let cure =
      code == EACCES || code == EPERM
      ? "run as a user who may write there, or give another home as argument" : "check the path"
    return HomeError(description: "\(path): \(String(cString: strerror(code))); \(cure)")
  }

  private static func randomHex(bytes: Int) -> String {
    (0..<bytes).map { _ in String(0x100 + Int.random(in: 0...255), radix: 16).dropFirst() }.joined()
  }

  private func write(_ name: String, _ text: String, mode: mode_t) throws {
    let file = path + "/" + name
    let fd = open(file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode)
    guard fd >= 0 else { throw failure(file, errno) }
    defer { close(fd) }
    let bytes = Array(text.utf8)
    guard Glibc.write(fd, bytes, bytes.count) == bytes.count else { throw failure(file, errno) }
  }

  /// identity.secret is `ADDRESS:TYPE:PUBLIC:SECRET` as the original writes it; a new home gets a random one of type n
  /// (no key pair: the overlay network's link will bring its own).
  private func loadIdentity() throws -> String {
    let file = path + "/identity.secret"
    if let text = try? String(contentsOfFile: file, encoding: .utf8), !text.isEmpty { return text }
    let (address, open, secret) = (Self.randomHex(bytes: 5), Self.randomHex(bytes: 32), Self.randomHex(bytes: 32))
    try write("identity.public", "\(address):n:\(open)", mode: 0o644)
    let text = "\(address):n:\(open):\(secret)"
    try write("identity.secret", text, mode: 0o600)
    return text
  }

  /// FNV-1a, 64 bits: a fingerprint that is the same in each run; nothing secret depends on it.
  private static func fold(_ text: String) -> UInt64 {
    text.utf8.reduce(0xcbf2_9ce4_8422_2325) { ($0 ^ UInt64($1)) &* 0x100_0000_01b3 }
  }

  /// The hardware address of a network in this home: always the same, and locally administered (IEEE 802 clause 8.2).
  public func mac(for id: NetworkID) -> MACAddress {
    let mixed = Self.fold("\(identity)/\(id)")
    return MACAddress(bits: mixed & 0xfcff_ffff_ffff | 0x0200_0000_0000)
  }

  /// Claims the home for this process.
  /// - Throws: `HomeError` where another daemon that lives has it.
  public func claim() throws {
    if let text = try? String(contentsOfFile: pidFile, encoding: .utf8),
      let pid = pid_t(text.trimmed), pid != getpid(), kill(pid, 0) == 0 || errno == EPERM,
      (try? String(contentsOfFile: "/proc/\(pid)/comm", encoding: .utf8))?.hasPrefix("netcond") == true
        || (try? String(contentsOfFile: "/proc/\(pid)/comm", encoding: .utf8))?.hasPrefix("zerotier") == true
    {
      throw HomeError(description: "\(path) is served by process \(pid) already; stop that one or choose another home")
    }
    try write("zerotier-one.pid", "\(getpid())", mode: 0o644)
  }

  /// Notes where the control interface is; 0: nowhere.
  public func note(port: UInt16) throws { try write("zerotier-one.port", "\(port)", mode: 0o644) }

  public func release() { unlink(pidFile) }

  /// All networks of networks.d, in the order of their ids.
  /// - Throws: `ConfigurationErrors` with every mistake of every file.
  public func loadNetworks() throws -> [NetworkConfiguration] {
    var networks: [NetworkConfiguration] = []
    var errors: [ConfigurationError] = []
    for name in try FileManager.default.contentsOfDirectory(atPath: networksFolder).sorted()
    where name.hasSuffix(".conf") && !name.hasSuffix(".local.conf") && !name.hasPrefix(".") {
      switch Self.read(networksFolder + "/" + name) {
      case .success(let network): networks.append(network)
      case .failure(let mistakes): errors += mistakes.errors
      }
    }
    errors += Self.conflicts(among: networks)
    guard errors.isEmpty else { throw ConfigurationErrors(errors) }
    return networks
  }

  private static func read(_ file: String) -> Result<NetworkConfiguration, ConfigurationErrors> {
    guard let data = FileManager.default.contents(atPath: file) else {
      return .failure(
        ConfigurationErrors([
          ConfigurationError(file: file, line: 0, cause: "the file cannot be read", cure: "check its permissions")
        ]))
    }
    return NetworkConfiguration.parse(String(decoding: data, as: UTF8.self), file: file)
  }

  private func networkFile(_ id: NetworkID) -> String { "\(networksFolder)/\(id).conf" }

  /// Reads the file of a network to join: its own, the one that `putAside` put away, or a new and empty one.
  /// - Throws: `ConfigurationErrors` or `HomeError`.
  public func loadNetwork(_ id: NetworkID, beside others: [NetworkConfiguration]) throws -> NetworkConfiguration {
    let file = networkFile(id)
    if !FileManager.default.fileExists(atPath: file), rename(file + Self.asideSuffix, file) != 0 {
      guard errno == ENOENT else { throw failure(file + Self.asideSuffix, errno) }
      try write("networks.d/\(id).conf", "", mode: 0o644)
    }
    let network = try Self.read(file).get()
    let errors = Self.conflicts(among: others + [network])
    guard errors.isEmpty else { throw ConfigurationErrors(errors) }
    return network
  }

  /// What is in the file is its owner's work: a network that was left keeps it, under a name that no start reads.
  private static let asideSuffix = ".left"

  /// Puts the file of a network away that is left.
  /// - Throws: `HomeError`.
  public func putAside(_ id: NetworkID) throws {
    let file = networkFile(id)
    guard rename(file, file + Self.asideSuffix) == 0 || errno == ENOENT else { throw failure(file, errno) }
  }

  static func conflicts(among networks: [NetworkConfiguration]) -> [ConfigurationError] {
    var errors: [ConfigurationError] = []
    var taps: [String: NetworkConfiguration] = [:]
    for network in networks {
      guard case .tap(let name) = network.link else { continue }
      if let other = taps[name] {
        errors.append(
          ConfigurationError(
            file: network.file, line: network.linkLine, cause: "tap \(name) is network \(other.id)'s already",
            cure: "give each network a tap of its own, or bridge the taps"))
      }
      taps[name] = network
    }
    return errors
  }
}
