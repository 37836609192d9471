/// One HTTP request, as whoever answers it sees it.
public struct ControlRequest: Sendable {
  public let method: String
  /// The path's parts: `/network/8056c2e21c000001` is `["network", "8056c2e21c000001"]`, `/` is empty.
  public let path: [String]
  /// What stands behind `?`; of a repeated name the last value.
  public let query: [String: String]
  /// Header names in lower case; of a repeated one the first.
  public let headers: [String: String]
  public let body: [UInt8]

  /// - Parameter target: the request target in origin form (RFC 9112 section 3.2.1). Neither ids nor tokens need percent
  ///   encoding, so none is undone.
  public init(method: String, target: String, headers: [String: String] = [:], body: [UInt8] = []) {
    let halves = target.split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false)
    self.method = method
    path = (halves.first ?? "").split(separator: "/").map(String.init)
    var query: [String: String] = [:]
    for pair in halves.count > 1 ? halves[1].split(separator: "&") : [] {
      let sides = pair.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
      query[String(sides[0])] = sides.count > 1 ? String(sides[1]) : ""
    }
    self.query = query
    self.headers = headers
    self.body = body
  }
}

/// The answer to a `ControlRequest`.
public struct ControlResponse: Sendable, Equatable {
  /// RFC 9110 section 15.
  public let status: Int
  public let contentType: String
  public let body: [UInt8]

  public init(status: Int, contentType: String, body: [UInt8]) {
    self.status = status
    self.contentType = contentType
    self.body = body
  }

  public static func text(_ status: Int, _ text: String, type: String = "text/plain; charset=utf-8") -> ControlResponse
  {
    ControlResponse(status: status, contentType: type, body: Array(text.utf8))
  }
}

/// Why a control connection could not be had, with what to do about it.
public struct ControlError: Error, CustomStringConvertible, Sendable {
  public let description: String
  init(_ description: String) { self.description = description }
}
