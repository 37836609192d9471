public import ArgumentParser
internal import ControlPlane
internal import FoundationEssentials

/// `zerotier-cli`: the original's commands and its lines of output, which scripts cut into fields.
public struct CLICommand: ParsableCommand {
  public static let configuration = CommandConfiguration(
    commandName: "zerotier-cli",
    abstract: "Asks a running netcond, and tells it to join or leave networks.",
    discussion: """
      Commands:
        info                    this node (status is the same)
        listpeers               nodes of the overlay network
        listnetworks            networks, with their sockets' paths and addresses
        join NETWORK            serve a network: HOME/networks.d/NETWORK.conf, made empty where it is missing
        leave NETWORK           serve it no more; its file is kept as NETWORK.conf.left
        /PATH                   what the control interface has there, such as /status or /netcond/sockets
      """)

  @Flag(name: .short, help: "Show the version and exit.")
  var version = false

  @Flag(name: .customShort("j"), help: "Print JSON instead of lines.")
  var json = false

  @Option(name: [.customShort("D", allowingJoined: true)], help: "The daemon's home folder.")
  var home: String = Home.defaultPath

  @Option(name: [.customShort("p", allowingJoined: true)], help: "The control port. (default: HOME/zerotier-one.port)")
  var port: UInt16?

  @Option(name: [.customShort("T", allowingJoined: true)], help: "The token. (default: HOME/authtoken.secret)")
  var token: String?

  @Argument(help: "What to do.")
  var command: String?

  @Argument(help: "The network's 16 hexadecimal digits.")
  var network: String?

  public init() {}

  public func validate() throws {
    if version { return }
    switch command {
    case nil: throw ValidationError("give a command")
    case "join"?, "leave"?:
      guard let network, NetworkID(network) != nil else {
        throw ValidationError("\(command ?? "") takes a network id: 16 hexadecimal digits")
      }
    case "info"?, "status"?, "listpeers"?, "listnetworks"?:
      if let network { throw ValidationError("'\(network)' is too much") }
    case let path? where path.hasPrefix("/"):
      if let network { throw ValidationError("'\(network)' is too much") }
    default: throw ValidationError("'\(command ?? "")' is no command")
    }
  }

  public func run() throws {
    if version { return print(netcondVersion) }
    guard let command else { return }
    try ControlFailure.told(by: "zerotier-cli") {
      try perform(command, ControlClient(home: Home(path: home), port: port, token: token))
    }
  }

  private func perform(_ command: String, _ client: ControlClient) throws {
    switch command {
    case "info", "status":
      try show(client.send("GET", "/status"), command) { (status: StatusDocument) in
        ["200 info \(status.address) \(status.online ? "ONLINE" : "OFFLINE") \(status.version)"]
      }
    case "listpeers":
      try show(client.send("GET", "/peer"), command) { (_: [String]) in
        ["200 listpeers <ztaddr> <paths> <latency> <version> <role>"]
      }
    case "listnetworks":
      try show(client.send("GET", "/network"), command) { (networks: [NetworkDocument]) in
        ["200 listnetworks <nwid> <name> <mac> <status> <type> <dev> <ZT assigned ips>"] + networks.map(\.line)
      }
    case "join", "leave":
      let method = command == "join" ? "POST" : "DELETE"
      let response = try client.send(method, "/network/\(network ?? "")")
      guard response.status == 200 else { throw fail(response, command) }
      print(json ? response.text : "200 \(command) OK")
    default:
      let response = try client.send("GET", command)
      guard response.status == 200 else { throw fail(response, command) }
      print(response.text)
    }
  }

  private func show<Document: Decodable>(
    _ response: ControlResponse, _ command: String, lines: (Document) -> [String]
  ) throws {
    guard response.status == 200 else { throw fail(response, command) }
    if json { return print(response.text) }
    for line in try lines(response.decoded()) { print(line) }
  }

  /// As the original: status, command and what the service said, on standard output.
  private func fail(_ response: ControlResponse, _ command: String) -> ExitCode {
    print("\(response.status) \(command) \(response.complaint)")
    return ExitCode(1)
  }
}

extension NetworkDocument {
  /// `listnetworks`: fields are cut at spaces, so none may hold one.
  fileprivate var line: String {
    let ips = assignedAddresses.isEmpty ? "-" : assignedAddresses.joined(separator: ",")
    return (["200", "listnetworks", nwid, name, mac, status, type, portDeviceName].map(\.withoutSpaces) + [ips])
      .joined(separator: " ")
  }
}

extension String {
  fileprivate var withoutSpaces: String { String(map { $0.isWhitespace ? "_" : $0 }) }
}

extension ControlResponse {
  /// The body without the line break at its end.
  var text: String {
    let text = String(decoding: body, as: UTF8.self)
    return text.hasSuffix("\n") ? String(text.dropLast()) : text
  }

  /// Why the daemon refused.
  var complaint: String { (try? (decoded() as ErrorDocument).error) ?? text }

  /// - Throws: `HomeError` where it is not what this program knows.
  func decoded<Document: Decodable>() throws -> Document {
    do {
      return try JSONDecoder().decode(Document.self, from: Data(body))
    } catch {
      throw HomeError(description: "the service speaks another version's language (\(error))")
    }
  }
}

extension ControlClient {
  /// A client of the daemon in `home`.
  /// - Throws: `HomeError` where it cannot be known how to reach it.
  init(home: Home, port: UInt16?, token: String?) throws {
    let known = try port ?? Self.notedPort(home)
    self.init(port: known, token: try token ?? home.readToken())
  }

  private static func notedPort(_ home: Home) throws -> UInt16 {
    guard let text = try? String(contentsOfFile: home.portFile, encoding: .utf8) else {
      throw HomeError(
        description: "\(home.portFile) cannot be read; start netcond there, or name another home with -D")
    }
    guard let port = UInt16(text.trimmed), port > 0 else {
      throw HomeError(description: "\(home.portFile): the daemon has no control interface; its log tells why")
    }
    return port
  }
}
