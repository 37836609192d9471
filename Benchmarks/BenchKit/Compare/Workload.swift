/// What is compared. "App" is the program under the library on our side, and its twin on the kernel's.
enum Workload: String, Codable, CaseIterable, Sendable {
  case bulkSend = "bulk send"
  case bulkReceive = "bulk receive"
  case churnAsClient = "churn as client"
  case churnAsServer = "churn as server"

  var isBulk: Bool { self == .bulkSend || self == .bulkReceive }
  var unit: String { isBulk ? "Gbit/s" : "connections/s" }

  /// The client's scenario on the command line.
  var scenario: String {
    switch self {
    case .bulkSend: "bulk-send"
    case .bulkReceive: "bulk-receive"
    case .churnAsClient, .churnAsServer: "churn"
    }
  }

  /// Whether the app serves and the peer is the client.
  var isAppServer: Bool { self == .churnAsServer }

  /// The least ratio to the kernel's figure that the first version has to reach (issue 2, section 8); nil where none is
  /// set.
  var floor: Double? {
    switch self {
    case .bulkSend: 1.0
    case .bulkReceive: 0.6
    case .churnAsClient, .churnAsServer: nil
    }
  }

  func figure(_ result: ClientResult) -> Double {
    isBulk ? result.gigabitsPerSecond : result.connectionsPerSecond
  }
}

/// Whose TCP the app uses.
enum Side: String, Codable, CaseIterable, Sendable {
  case kernel = "kernel veth"
  case netcond
}
