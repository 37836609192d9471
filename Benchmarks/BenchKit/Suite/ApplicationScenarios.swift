internal import Glibc
internal import TestSupport

extension Trial {
  /// Runs a server as the app while `body` measures. Afterwards all of it is gone, however that ended: a master that is
  /// killed leaves its workers behind.
  func serving(_ command: Command, _ body: (ChildProcess) throws -> Sample) throws -> Sample {
    let server = try ChildProcess(self.command(command, .app))
    let outcome: Result<Sample, any Error> = Result { try body(server) }
    let workers = (try? ProcessFacts.children(server.pid)) ?? []
    do {
      server.send(signal: SIGTERM)
      try server.wait(seconds: 20)
    } catch {
      for worker in workers { kill(worker, SIGKILL) }
      if case .success = outcome { throw error }
    }
    return try outcome.get()
  }
}

/// nginx as the app, wrk(1) as the peer; what nginx serves is compared with its file first.
struct NginxScenario: Scenario {
  let name: String
  let fileBytes: Int
  let closesConnections: Bool
  let isQuick: Bool
  var group: String { "HTTP: nginx as the app, wrk outside, 64 connections" }
  var wiring: Wiring { .link }
  var contenders: [Contender] { [.kernel, .netcond] }
  var metrics: [Metric] { [.requests, .median, .p99] }
  var leastSeconds: Double { 1 }
  var programs: [String: String] { ["nginx": "nginx-light", "wrk": "wrk", "curl": "curl"] }

  private func configuration(_ folder: String, _ address: String, _ port: Int) -> String {
    """
    daemon off; user root; worker_processes 1; pid \(folder)/pid; error_log stderr;
    events { worker_connections 4096; }
    http {
      access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000000;
      \(["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map { "\($0)_temp_path \(folder)/\($0);" }.joined(separator: " "))
      server { listen \(address):\(port); root \(folder)/www; }
    }
    """
  }

  func measure(_ trial: Trial) throws -> Sample {
    let stage = trial.stage
    try stage.place(trial.placement)
    let folder = try TemporaryFolder("ngx")
    guard mkdir(folder.path + "/www", 0o755) == 0 else { throw SupportError.systemCall("mkdir", folder.path) }
    let content = Content.text(bytes: fileBytes)
    let file = try folder.write("www/file", content)
    let address = try stage.address(of: .app, .ipv4)
    try folder.write("nginx.conf", configuration(folder.path, address, trial.servicePort))
    let arguments = ["-p", folder.path, "-c", folder.path + "/nginx.conf"]
    let url = "http://\(address):\(trial.servicePort)/file"
    let fetched = folder.path + "/fetched"
    return try trial.serving(Command("nginx", arguments)) { server in
      try waitUntil("nginx to serve", seconds: 20) {
        guard server.isRunning else { throw SupportError("nginx ended: \(server.standardError)") }
        let fetch = trial.command(Command("curl", ["-s", "-f", "-m", "10", "-o", fetched, url]), .peer)
        return try run(fetch, seconds: 15).status.isSuccess
      }
      try run(Command("cmp", [fetched, file]), seconds: 10).checked()
      return try load(trial, server, url)
    }
  }

  private func load(_ trial: Trial, _ server: ChildProcess, _ url: String) throws -> Sample {
    let worker = try ProcessFacts.children(server.pid).first ?? server.pid
    let meter = try CPUMeter(trial.stage, app: worker, peer: nil)
    let whole = Int(max(1, trial.seconds.rounded()))
    let wrk = Command(
      "wrk",
      ["-t1", "-c64", "-d\(whole)s", "--latency"] + (closesConnections ? ["-H", "Connection: close"] : []) + [url])
    let output = try trial.output(wrk, .peer, seconds: Double(whole) + 30)
    var sample = Sample(seconds: Double(whole), cpu: try meter.use())
    sample[.requests] = try WrkOutput(output, minimumBytes: fileBytes).requestsPerSecond
    let latency = WrkOutput.latencies(output)
    sample[.median] = latency["50%"]
    sample[.p99] = latency["99%"]
    return sample
  }
}

/// What wrk prints.
struct WrkOutput {
  let requestsPerSecond: Double

  /// - Throws: `SupportError` when there were errors, or fewer bytes than the requests need.
  init(_ text: String, minimumBytes: Int) throws {
    for word in ["Non-2xx", "Socket errors"] where text.contains(word) {
      throw SupportError("wrk tells of errors:\n\(text)")
    }
    guard let line = text.split(separator: "\n").first(where: { $0.hasPrefix("Requests/sec:") }),
      let value = line.split(separator: " ").last.flatMap({ Double($0) }), value > 0
    else { throw SupportError("wrk made no requests:\n\(text)") }
    // "  12345 requests in 1.00s, 14.20MB read"
    let total = text.split(separator: "\n").first { $0.contains(" requests in ") }
    let words = total?.split(whereSeparator: { $0 == " " || $0 == "," }) ?? []
    guard words.count >= 5, let requests = Double(words[0]), let bytes = WrkOutput.bytes(words[4]) else {
      throw SupportError("wrk's total is missing:\n\(text)")
    }
    // wrk rounds to three digits.
    guard bytes >= requests * Double(minimumBytes) * 0.98 else { throw SupportError("bytes are missing:\n\(text)") }
    requestsPerSecond = value
  }

  private static func bytes(_ word: Substring) -> Double? {
    let units: [(String, Double)] = [("TB", 0x1p40), ("GB", 0x1p30), ("MB", 0x1p20), ("KB", 0x1p10), ("B", 1)]
    for (unit, scale) in units where word.hasSuffix(unit) {
      return Double(word.dropLast(unit.count)).map { $0 * scale }
    }
    return nil
  }

  /// Microseconds by percentile: lines as "     99%    1.20ms".
  static func latencies(_ text: String) -> [String: Double] {
    let units: [(String, Double)] = [("us", 1), ("ms", 1e3), ("s", 1e6)]
    var result: [String: Double] = [:]
    for line in text.split(separator: "\n") {
      let words = line.split(separator: " ")
      guard words.count == 2, words[0].hasSuffix("%") else { continue }
      for (unit, scale) in units where words[1].hasSuffix(unit) {
        result[String(words[0])] = Double(words[1].dropLast(unit.count)).map { $0 * scale }
        break
      }
    }
    return result
  }
}

/// redis-server as the app, redis-benchmark(1) as the peer.
struct RedisScenario: Scenario {
  let pipelined: Int
  let isQuick: Bool
  var name: String { "redis-benchmark -P \(pipelined)" }
  var group: String { "redis-server as the app, redis-benchmark outside, 50 connections" }
  var wiring: Wiring { .link }
  var contenders: [Contender] { [.kernel, .netcond] }
  var metrics: [Metric] { [.operations] }
  var programs: [String: String] {
    ["redis-server": "redis-server", "redis-benchmark": "redis-tools", "redis-cli": "redis-tools"]
  }

  func measure(_ trial: Trial) throws -> Sample {
    let stage = trial.stage
    try stage.place(trial.placement)
    let folder = try TemporaryFolder("red")
    let address = try stage.address(of: .app, .ipv4)
    let port = String(trial.servicePort)
    let place = ["-h", address, "-p", port]
    let options = ["--save", "", "--appendonly", "no", "--protected-mode", "no", "--dir", folder.path]
    return try trial.serving(Command("redis-server", ["--bind", address, "--port", port] + options)) { server in
      try waitUntil("redis-server to serve", seconds: 20) {
        guard server.isRunning else { throw SupportError("redis-server ended: \(server.standardOutput)") }
        let ping = trial.command(Command("redis-cli", place + ["ping"]), .peer)
        return try run(ping, seconds: 15).standardOutput == "PONG\n"
      }
      try checkContent(trial, place, folder)
      return try load(trial, server, place)
    }
  }

  private func load(_ trial: Trial, _ server: ChildProcess, _ place: [String]) throws -> Sample {
    // Sized for a kernel's usual speed: redis-benchmark counts operations, not seconds.
    let count = Int(40_000 * max(trial.seconds, 0.05)) * (pipelined > 1 ? 8 : 1)
    let meter = try CPUMeter(trial.stage, app: server.pid, peer: nil)
    let start = monotonicSeconds()
    let load = ["-t", "set,get", "-c", "50", "-n", String(count), "-P", String(pipelined), "--csv"]
    let output = try trial.output(
      Command("redis-benchmark", place + load), .peer, seconds: 60 + trial.seconds * 20)
    var sample = Sample(seconds: monotonicSeconds() - start, cpu: try meter.use())
    // "test","rps",… then "SET","12345.67",…
    let rates = output.split(separator: "\n").compactMap { line -> Double? in
      let cells = line.split(separator: ",").map { $0.filter { $0 != "\"" } }
      return cells.count > 1 && (cells[0] == "SET" || cells[0] == "GET") ? Double(cells[1]) : nil
    }
    guard rates.count == 2, rates.allSatisfy({ $0 > 0 }) else { throw SupportError("redis-benchmark said:\n\(output)") }
    sample[.operations] = 2 / rates.map { 1 / $0 }.reduce(0, +)  // as many of one as of the other
    return sample
  }

  /// A value goes there and comes back the same: redis-benchmark looks at no value.
  private func checkContent(_ trial: Trial, _ place: [String], _ folder: TemporaryFolder) throws {
    let value = Content.text(bytes: 100_000)
    let file = try folder.write("value", value)
    let cli = "redis-cli " + place.joined(separator: " ")
    _ = try trial.output(Command("sh", ["-c", "\(cli) -x set netcond < \(file)"]), .peer, seconds: 15)
    let got = try trial.output(Command("redis-cli", place + ["get", "netcond"]), .peer, seconds: 15)
    guard got == value + "\n" else { throw SupportError("redis gave another value back than it got") }
  }
}

/// Bytes that repeat late: letters from the pattern of the transfers.
private enum Content {
  static func text(bytes count: Int) -> String {
    let pattern = Pattern(seed: 5, windowBytes: count)
    return String(decoding: pattern.bytes(at: 0, count: count).map { UInt8(ascii: "a") + $0 % 26 }, as: UTF8.self)
  }
}
