internal import TestSupport

/// Scenarios that netcond-bench's own client and server run.
struct ProgramScenario: Scenario {
  enum Kind: Sendable {
    case bulkSend(streams: Int)
    case bulkReceive(streams: Int)
    case echo(connections: Int)
    case churnAsClient, churnAsServer
    case datagramsOut, datagramsIn
  }

  let kind: Kind
  let group: String
  let name: String
  var isQuick = true
  var wiring: Wiring = .link
  var contenders: [Contender] = [.kernel, .netcond]
  var family: Family = .ipv4
  /// Bytes of a write, a request or a datagram.
  var chunkBytes = 65_536
  /// Further options of the client.
  var options: [String] = []
  /// Instead of a duration: bytes of one transfer. On a slow path what waits in buffers must not count as sent.
  var bytes: Int?
  var leastSeconds: Double = 0
  var places: Placement.Choice = .both
  var mostRounds = Int.max
  var isComparedApart = false

  var metrics: [Metric] {
    switch kind {
    case .bulkSend, .bulkReceive: [isSlow ? .megabits : .gigabits, .appCPU, .helperCPU, .machineCPU]
    case .echo: [.median, .p99, .p999, .requests]
    case .churnAsClient, .churnAsServer: [.connections, .median, .p99]
    case .datagramsOut, .datagramsIn: [.datagrams, .loss]
    }
  }

  /// Whether the path, and not the machine, bounds the throughput.
  private var isSlow: Bool {
    if case .impaired = wiring { true } else { false }
  }

  /// Who serves; the other is the client.
  private var server: Role {
    switch kind {
    case .churnAsServer, .datagramsIn: .app
    default: .peer
    }
  }

  private var clientScenario: String {
    switch kind {
    case .bulkSend: "bulk-send"
    case .bulkReceive: "bulk-receive"
    case .echo: "echo"
    case .churnAsClient, .churnAsServer: "churn"
    case .datagramsOut, .datagramsIn: "datagrams"
    }
  }

  private func arguments(seconds: Double) -> [String] {
    var arguments = ["--chunk", String(chunkBytes)] + options
    switch kind {
    case .bulkSend(let streams), .bulkReceive(let streams): arguments += ["--concurrency", String(streams)]
    case .echo(let connections): arguments += ["--concurrency", String(connections)]
    default: break
    }
    return arguments + (bytes.map { ["--bytes", String($0)] } ?? ["--seconds", String(seconds)])
  }

  func measure(_ trial: Trial) throws -> Sample {
    let stage = trial.stage
    try stage.place(trial.placement)
    let client: Role = server == .app ? .peer : .app
    let served = try BenchServer(trial.binaries, address: try stage.address(of: server, family)) {
      trial.command($0, server)
    }
    let endpoint = try Endpoint(
      address: try stage.address(of: server, family, seenBy: client), port: served.endpoint.port)
    let arguments = arguments(seconds: trial.seconds)
    let command = trial.command(
      BenchClient.command(trial.binaries, clientScenario, endpoint, arguments), client)
    let meter = try CPUMeter(
      stage, app: server == .app ? served.process.pid : nil, peer: server == .peer ? served.process.pid : nil)
    let result = try stage.watched { try BenchClient.run(command, seconds: trial.seconds + 25) }
    var sample = Sample(seconds: result.seconds, cpu: try meter.use())
    if server == .app { sample.cpu.peer = result.cpuSeconds } else { sample.cpu.app = result.cpuSeconds }
    fill(&sample, result)
    sample.figures.merge(stage.figures) { $1 }
    return sample
  }

  private func fill(_ sample: inout Sample, _ result: ClientResult) {
    let gigabytes = Double(result.bytes) * 1e-9
    switch kind {
    case .bulkSend, .bulkReceive:
      sample[metrics[0]] = result.gigabitsPerSecond * (isSlow ? 1000 : 1)
      guard gigabytes > 0 else { return }
      sample[.appCPU] = sample.cpu.app / gigabytes
      sample[.helperCPU] = sample.cpu.helper / gigabytes
      sample[.machineCPU] = sample.cpu.machine / gigabytes
    case .echo:
      sample[.requests] = result.requestsPerSecond
    case .churnAsClient, .churnAsServer:
      sample[.connections] = result.connectionsPerSecond
    case .datagramsOut, .datagramsIn:
      sample[.datagrams] = Double(result.arrivedDatagrams) / result.seconds
      let lost = result.sentDatagrams - result.arrivedDatagrams
      sample[.loss] = result.sentDatagrams > 0 ? 100 * Double(lost) / Double(result.sentDatagrams) : 0
    }
    if let latency = result.latency {
      sample[.median] = latency.medianMicroseconds
      sample[.p99] = latency.p99Microseconds
      sample[.p999] = latency.p999Microseconds
    }
  }
}
