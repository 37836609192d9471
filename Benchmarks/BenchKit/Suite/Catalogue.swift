/// All scenarios, in the order in which they are reported.
struct Catalogue {
  /// Names that targets refer to.
  enum Name {
    static func bulk(_ isSending: Bool, streams: Int) -> String {
      "bulk \(isSending ? "send" : "receive"), \(streams) stream\(streams == 1 ? "" : "s")"
    }
    static let roundTrip = "round trip, 1 B, 1 connection"
    static let churnServer = "churn as server, 64 at once"
    static let churnBlocking = "churn as client, 64 at once, blocking connect"
    static let churnNonBlocking = "churn as client, 64 at once, non-blocking connect"
    static let nginx = "nginx, 1 KiB, keepalive"
    static func idle(_ what: String, beside count: Int) -> String { "\(what) beside \(count) idle connections" }
    /// The count in such a name of bulk; nil of others.
    static func idleCount(ofBulk name: String) -> Int? {
      guard name.hasPrefix(idle(idleBulk, beside: 0).prefix { $0 != "0" }) else { return nil }
      return name.split(separator: " ").compactMap { Int($0) }.first
    }
    static let idleBulk = "bulk send"
    static let idleChurn = "churn as client"
    static func impaired(_ isSending: Bool, _ impairment: Impairment) -> String {
      "bulk \(isSending ? "send" : "receive"), \(impairment.description)"
    }
    static let local = "two programs on one network, bulk"
  }

  static let lossy = Impairment(roundTripMilliseconds: 20, lossPercent: 1)
  static let distant = Impairment(roundTripMilliseconds: 40, lossPercent: 0)
  static let mostIdle = 100_000

  let isQuick: Bool
  let hasBusyPoll: Bool
  /// The most descriptors a process may have: the daemon needs one for each connection.
  let descriptorLimit: Int

  /// The numbers of idle connections: fewer than wanted where the daemon could not have them.
  var idleCounts: [Int] {
    let few = isQuick ? [10_000] : [0, 1_000, 10_000]
    // Some are for everything else, and round numbers are read more easily.
    let possible = max(1_000, (descriptorLimit - 1_000) / 1_000 * 1_000)
    return few.filter { $0 < possible } + (isQuick ? [] : [min(Catalogue.mostIdle, possible)])
  }

  var scenarios: [any Scenario] {
    let all: [any Scenario] =
      bulk() + roundTrips() + churn() + applications() + datagrams() + idle() + impaired() + local()
    return isQuick ? all.filter(\.isQuick) : all
  }

  private func bulk() -> [any Scenario] {
    var result: [any Scenario] = []
    for family in [Family.ipv4, .ipv6] {
      for (chunkBytes, words) in [(65_536, ""), (1024, ", 1 KiB writes")] {
        for streams in [1, 8, 64] {
          for isSending in [true, false] {
            let isPlain = family == .ipv4 && chunkBytes == 65_536
            result.append(
              ProgramScenario(
                kind: isSending ? .bulkSend(streams: streams) : .bulkReceive(streams: streams),
                group: "Bulk TCP, \(family.rawValue)",
                name: Name.bulk(isSending, streams: streams) + words + (family == .ipv6 ? ", IPv6" : ""),
                isQuick: isPlain && streams != 8,
                contenders: [.kernel, .netcond]
                  + (isPlain && (streams == 1 || !isQuick) ? [.pasta, .slirp4netns] + Congestion.cubicBeside : []),
                family: family, chunkBytes: chunkBytes))
          }
        }
      }
    }
    return result
  }

  private func roundTrips() -> [any Scenario] {
    [(1, 1), (1024, 1), (1, 64), (1024, 64)].map { bytes, connections in
      let size = bytes == 1024 ? "1 KiB" : "\(bytes) B"
      let name = "round trip, \(size), \(connections) connection\(connections == 1 ? "" : "s")"
      return ProgramScenario(
        kind: .echo(connections: connections), group: "Request and response", name: name,
        isQuick: name == Name.roundTrip,
        contenders: [.kernel, .netcond] + (hasBusyPoll ? [.netcondBusyPoll] : []), chunkBytes: bytes,
        isComparedApart: hasBusyPoll && name == Name.roundTrip)
    }
  }

  private func churn() -> [any Scenario] {
    let group = "Connections: connect, 32 bytes there, 1 back, close"
    func scenario(_ kind: ProgramScenario.Kind, _ name: String, _ options: [String]) -> ProgramScenario {
      let isQuick = [Name.churnServer, Name.churnBlocking, Name.churnNonBlocking].contains(name)
      return ProgramScenario(kind: kind, group: group, name: name, isQuick: isQuick, chunkBytes: 64, options: options)
    }
    var result: [any Scenario] = []
    for (ending, closing) in [("", [String]()), (", closed by RST", ["--reset"])] {
      result += [
        scenario(.churnAsClient, "churn as client, 1 at once\(ending)", closing),
        scenario(.churnAsClient, Name.churnBlocking + ending, closing + ["--concurrency", "64"]),
        scenario(.churnAsClient, Name.churnNonBlocking + ending, closing + ["--concurrency", "64", "--non-blocking"]),
        scenario(.churnAsServer, "churn as server, 1 at once\(ending)", closing),
        scenario(.churnAsServer, Name.churnServer + ending, closing + ["--concurrency", "64", "--non-blocking"]),
      ]
    }
    return result
  }

  private func applications() -> [any Scenario] {
    [
      NginxScenario(name: Name.nginx, fileBytes: 1024, closesConnections: false, isQuick: true),
      NginxScenario(name: "nginx, 1 KiB, connection-close", fileBytes: 1024, closesConnections: true, isQuick: false),
      NginxScenario(name: "nginx, 1 MiB, keepalive", fileBytes: 1 << 20, closesConnections: false, isQuick: false),
      RedisScenario(pipelined: 1, isQuick: false), RedisScenario(pipelined: 16, isQuick: false),
    ]
  }

  private func datagrams() -> [any Scenario] {
    [(64, "64 B"), (1400, "1400 B"), (8192, "8 KiB")].flatMap { bytes, size in
      [(ProgramScenario.Kind.datagramsOut, "send"), (.datagramsIn, "receive")].map { kind, word in
        ProgramScenario(
          kind: kind, group: "UDP", name: "UDP \(word), \(size)", isQuick: false, chunkBytes: bytes)
      }
    }
  }

  private func idle() -> [any Scenario] {
    idleCounts.flatMap { count in
      [(ProgramScenario.Kind.bulkSend(streams: 1), Name.idleBulk, 65_536), (.churnAsClient, Name.idleChurn, 64)].map {
        kind, what, chunkBytes -> any Scenario in
        let program = ProgramScenario(
          kind: kind, group: "Idle connections beside", name: Name.idle(what, beside: count), isQuick: false,
          wiring: .idle(count), contenders: isQuick ? [.netcond] : [.kernel, .netcond], chunkBytes: chunkBytes,
          options: chunkBytes == 64 ? ["--concurrency", "64", "--non-blocking"] : [], places: isQuick ? .same : .both)
        return count == 0 ? program : IdleScenario(program: program, isQuick: isQuick)
      }
    }
  }

  private func impaired() -> [any Scenario] {
    [Catalogue.lossy, Catalogue.distant].flatMap { impairment in
      [true, false].map { isSending in
        ProgramScenario(
          kind: isSending ? .bulkSend(streams: 1) : .bulkReceive(streams: 1),
          group: "Impaired path: round trip time and loss of packets", name: Name.impaired(isSending, impairment),
          wiring: .impaired(impairment),
          contenders: [.kernel, .netcond]
            + Congestion.bbrBeside,
          bytes: impairment.lossPercent > 0 ? (isQuick ? 3_000_000 : 6_000_000) : nil,
          leastSeconds: isQuick ? 2 : 4, places: isQuick || impairment.lossPercent > 0 ? .apart : .both,
          mostRounds: isQuick ? (impairment.lossPercent > 0 ? 2 : 1) : 3)
      }
    }
  }

  private func local() -> [any Scenario] {
    [(Wiring.local, "two programs on one network", true), (.hub, "two programs on two networks of a hub", false)]
      .flatMap {
        wiring, name, isQuick in
        [
          ProgramScenario(
            kind: .bulkSend(streams: 1), group: "Two intercepted programs", name: "\(name), bulk", isQuick: isQuick,
            wiring: wiring),
          ProgramScenario(
            kind: .echo(connections: 1), group: "Two intercepted programs", name: "\(name), round trip, 1 B",
            isQuick: isQuick, wiring: wiring, chunkBytes: 1),
        ] as [any Scenario]
      }
  }
}
