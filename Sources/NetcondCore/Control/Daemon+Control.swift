internal import ControlPlane
internal import FoundationEssentials

/// The control interface: HTTP on 127.0.0.1 and ::1, with the original's paths (docs/control.md).
extension Daemon {
  /// Answers one request. Whoever has the home's token may do everything; anybody else nothing.
  func answer(_ request: ControlRequest, home: Home, token: String) -> ControlResponse {
    guard Self.isAllowed(request, token: token) else {
      return failure(401, "give the token of \(home.tokenFile) as header X-ZT1-Auth")
    }
    switch request.path.first {
    case "network" where request.path.count == 2: return answerNetwork(request, request.path[1], home: home)
    case _ where request.method != "GET" && request.method != "HEAD":
      return failure(405, "\(request.method) is for /network/<16 hexadecimal digits>")
    case "status" where request.path.count == 1: return document(statusDocument(home))
    case "config" where request.path.count == 1: return document(configDocument(home))
    case "network" where request.path.count == 1:
      let counts = countSockets()
      return document(networks.map { networkDocument($0, sockets: counts[$0.number] ?? [:]) })
    case "peer" where request.path.count == 1: return document([String]())  // no overlay, no nodes of it
    case "metrics" where request.path.count == 1:
      return .text(200, metrics(), type: "text/plain; version=0.0.4; charset=utf-8")
    case "netcond" where request.path.count == 2 && request.path[1] == "sockets": return answerSockets(request)
    default: return failure(404, "there is no such path")
    }
  }

  /// Whether the request carries the token: as the original's header or query item, or as a bearer (RFC 6750), which
  /// Prometheus sends.
  static func isAllowed(_ request: ControlRequest, token: String) -> Bool {
    let bearer = request.headers["authorization"].flatMap { $0.hasPrefix("Bearer ") ? String($0.dropFirst(7)) : nil }
    guard let given = request.headers["x-zt1-auth"] ?? bearer ?? request.query["auth"], !token.isEmpty else {
      return false
    }
    // In a time that does not tell where they differ.
    let (a, b) = (Array(given.utf8), Array(token.utf8))
    return a.count == b.count && zip(a, b).reduce(0) { $0 | ($1.0 ^ $1.1) } == 0
  }

  private func answerNetwork(_ request: ControlRequest, _ name: String, home: Home) -> ControlResponse {
    guard let id = NetworkID(name) else { return failure(404, NetworkID.complaint(name)) }
    switch request.method {
    case "GET", "HEAD":
      guard let network = served(id) else { return failure(404, "not joined: \(id)") }
      return document(report(network))
    case "POST", "PUT":
      return attempt { report(try join(id, home: home)) }
    case "DELETE":
      guard let network = served(id) else { return failure(404, "not joined: \(id)") }
      return attempt {
        try leave(network, home: home)
        return ResultDocument(result: true)
      }
    default: return failure(405, "\(request.method) is not for networks; GET, POST and DELETE are")
    }
  }

  private func report(_ network: Network) -> NetworkDocument {
    networkDocument(network, sockets: countSockets()[network.number] ?? [:])
  }

  /// What is wrong with the home or with a network's file is the caller's to mend.
  private func attempt(_ make: () throws -> some Encodable) -> ControlResponse {
    do {
      return try document(make())
    } catch {
      return failure(409, "\(error)")
    }
  }

  private func answerSockets(_ request: ControlRequest) -> ControlResponse {
    var number: Int?
    if let text = request.query["network"] {
      guard let id = NetworkID(text) else { return failure(400, NetworkID.complaint(text)) }
      number = served(id)?.number
      guard number != nil else { return failure(404, "not joined: \(id)") }
    }
    let after = Int(request.query["after"] ?? "0") ?? -1
    guard after >= 0 else { return failure(400, "'after' is what the page before gave as 'next'") }
    return document(socketsDocument(of: number, after: after))
  }

  func failure(_ status: Int, _ cause: String) -> ControlResponse {
    document(ErrorDocument(error: cause), status: status)
  }

  func document(_ value: some Encodable, status: Int = 200) -> ControlResponse {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
    guard let data = try? encoder.encode(value) else { return .text(500, "this could not be written as JSON\n") }
    return ControlResponse(status: status, contentType: "application/json", body: Array(data) + [UInt8(ascii: "\n")])
  }
}
