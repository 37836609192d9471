/// GET /metrics: the same counters in Prometheus' text format (version 0.0.4).
extension Daemon {
  func metrics() -> String {
    var text = ""
    func family(_ name: String, _ kind: String, _ values: [(labels: String, value: UInt64)]) {
      text += "# TYPE netcond_\(name) \(kind)\n"
      for (labels, value) in values { text += "netcond_\(name)\(labels) \(value)\n" }
    }
    for (name, value) in counterDictionary.sorted(by: { $0.key < $1.key }) {
      family("\(Self.snakeCase(name))_total", "counter", [("", value)])
    }
    family("programs", "gauge", [("", UInt64(clients.count))])
    family("connections", "gauge", [("", UInt64(stack.connectionCount))])
    family("frame_buffers_free", "gauge", [("", UInt64(framePool.freeCount))])
    family("send_buffers_free", "gauge", [("", UInt64(sendPool.freeCount))])
    let perNetwork = networks.map { (id: "\($0.id)", counters: $0.counterDictionary) }
    for name in Set(perNetwork.flatMap { $0.counters.keys }).sorted() {
      family(
        "network_\(Self.snakeCase(name))_total", "counter",
        perNetwork.compactMap { network in network.counters[name].map { ("{network=\"\(network.id)\"}", $0) } })
    }
    let counts = countSockets()
    family(
      "sockets", "gauge",
      networks.flatMap { network in
        (counts[network.number] ?? [:]).sorted { $0.key < $1.key }.map {
          ("{network=\"\(network.id)\",state=\"\($0.key)\"}", UInt64($0.value))
        }
      })
    return text
  }

  /// `tcpResentBytes` is `tcp_resent_bytes`.
  static func snakeCase(_ name: String) -> String {
    name.reduce(into: "") { $0 += $1.isUppercase ? "_\($1.lowercased())" : "\($1)" }
  }
}
