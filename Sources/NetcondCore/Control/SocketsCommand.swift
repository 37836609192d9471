public import ArgumentParser
internal import ControlPlane
internal import FoundationEssentials

/// `netcond sockets`: the sockets of a running daemon's programs, in the columns of ss(8).
public struct SocketsCommand: ParsableCommand {
  public static let configuration = CommandConfiguration(
    commandName: "netcond sockets",
    abstract: "Lists the sockets of programs on a running netcond's networks.")

  @Option(help: "The daemon's home folder.")
  var home: String = Home.defaultPath

  @Option(help: "One network's 16 hexadecimal digits (default: all networks).")
  var network: String?

  public init() {}

  public func validate() throws {
    if let network, NetworkID(network) == nil {
      throw ValidationError(NetworkID.complaint(network))
    }
  }

  public func run() throws {
    try ControlFailure.told(by: "netcond sockets") {
      let client = try ControlClient(home: Home(path: home), port: nil, token: nil)
      let headline = [
        "Netid", "State", "Recv-Q", "Send-Q", "Local Address:Port", "Peer Address:Port", "Network", "Process", "RTT",
      ]
      print(Self.table([headline] + (try sockets(client)).map(\.row)))
    }
  }

  private func sockets(_ client: ControlClient) throws -> [SocketDocument] {
    var sockets: [SocketDocument] = []
    var after: Int? = 0
    while let next = after {
      let page: SocketsDocument = try client.document(
        "/netcond/sockets?after=\(next)" + (network.map { "&network=\($0)" } ?? ""))
      sockets += page.sockets
      after = page.next
    }
    return sockets
  }

  /// Columns as wide as their widest text, two spaces apart.
  static func table(_ rows: [[String]]) -> String {
    let widths = (0..<(rows.first?.count ?? 0)).map { column in rows.map { $0[column].count }.max() ?? 0 }
    return rows.map { row in
      var line = zip(row, widths).map { $0 + String(repeating: " ", count: $1 - $0.count) }.joined(separator: "  ")
      while line.last == " " { line.removeLast() }
      return line
    }.joined(separator: "\n")
  }
}

extension SocketDocument {
  fileprivate var row: [String] {
    [
      self.protocol, state, "\(receiveQueue)", "\(sendQueue)", local, peer ?? "*", network, process,
      roundTripMicroseconds.map { "\($0) us" } ?? "",
    ]
  }

  /// Its name, if the process is still there and in this process namespace.
  private var process: String {
    guard let pid else { return "-" }
    let name = try? String(contentsOfFile: "/proc/\(pid)/comm", encoding: .utf8)
    return name.map { "\($0.trimmed)(\(pid))" } ?? "\(pid)"
  }
}
