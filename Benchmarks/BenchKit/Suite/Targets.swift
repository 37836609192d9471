/// What issue "Faster than the kernel's path" wants, row by row, and what a run reached.
struct TargetOutcome: Codable, Sendable {
  enum Verdict: String, Codable, Sendable {
    case target = "target met"
    case floor = "floor met"
    case missed = "MISSED"
    case unknown = "not measured"
  }

  let name: String
  /// What the numbers are, as "× veth".
  let unit: String
  let target: Double
  let floor: Double
  let isLessBetter: Bool
  /// nil where the run did not measure it.
  let value: Double?

  var verdict: Verdict {
    guard let value else { return .unknown }
    let (reached, least) = isLessBetter ? (value <= target, value <= floor) : (value >= target, value >= floor)
    return reached ? .target : least ? .floor : .missed
  }
}

/// The table of targets over a run's results.
struct Targets {
  private let results: [String: ScenarioResult]
  /// The most idle connections that were measured beside.
  private let mostIdle: Int?
  private typealias Name = Catalogue.Name

  static func evaluate(_ scenarios: [ScenarioResult]) -> [TargetOutcome] { Targets(scenarios).rows }

  private init(_ scenarios: [ScenarioResult]) {
    results = Dictionary(scenarios.map { ($0.name, $0) }) { first, _ in first }
    mostIdle = scenarios.map(\.name).compactMap(Name.idleCount(ofBulk:)).max()
  }

  private func median(_ name: String, _ contender: Contender = .netcond) -> Double? {
    results[name].flatMap { $0.best(contender)?.median($0.quoted) }
  }

  /// The worst of several: nil unless all were measured.
  private func worst(_ values: [Double?], isLessBetter: Bool = false) -> Double? {
    let known = values.compactMap(\.self)
    guard known.count == values.count else { return nil }
    return isLessBetter ? known.max() : known.min()
  }

  private func ratio(_ names: [String], to other: Contender = .kernel) -> Double? {
    worst(names.map { results[$0]?.ratio(.netcond, to: other) })
  }

  private var manyStreams: Double? {
    worst(
      [true, false].map { isSending in
        guard let many = median(Name.bulk(isSending, streams: 64)), let one = median(Name.bulk(isSending, streams: 1)),
          one > 0
        else { return nil }
        return many / one
      })
  }

  /// Per cent that the most idle connections cost, for the worse of bulk and churn.
  private var slowdown: Double? {
    guard let most = mostIdle else { return nil }
    return worst(
      [Name.idleBulk, Name.idleChurn].map { results[Name.idle($0, beside: most)]?.best(.netcond)?.median(.slowdown) },
      isLessBetter: true)
  }

  private var idleBytes: Double? {
    guard let most = mostIdle else { return nil }
    return results[Name.idle(Name.idleBulk, beside: most)]?.best(.netcond)?.median(.idleBytes)
  }

  private var rows: [TargetOutcome] {
    func row(
      _ name: String, _ unit: String, _ target: Double, _ floor: Double, isLessBetter: Bool = false, _ value: Double?
    ) -> TargetOutcome {
      TargetOutcome(name: name, unit: unit, target: target, floor: floor, isLessBetter: isLessBetter, value: value)
    }
    let single = [true, false].map { Name.bulk($0, streams: 1) }
    let roundTrip = results[Name.roundTrip]
    let most = mostIdle ?? Catalogue.mostIdle
    return [
      row("bulk send, 1 stream", "× veth", 2.0, 1.5, ratio([single[0]])),
      row("bulk receive, 1 stream", "× veth", 1.2, 0.9, ratio([single[1]])),
      row("64 streams, the worse way", "× one stream", 1.0, 0.8, manyStreams),
      row("bulk, the worse way", "× pasta", 2.5, 1.5, ratio(single, to: .pasta)),
      row("bulk, the worse way", "× slirp4netns", 5, 3, ratio(single, to: .slirp4netns)),
      row("churn as server, 64 at once", "× veth", 1.2, 0.6, ratio([Name.churnServer])),
      row("churn as client, 64 at once, blocking", "× veth", 1.2, 0.6, ratio([Name.churnBlocking])),
      row("churn as client, 64 at once, non-blocking", "× veth", 1.2, 0.6, ratio([Name.churnNonBlocking])),
      row("round trip, 1 B, 1 connection", "× veth's time", 1.3, 2, isLessBetter: true, ratio([Name.roundTrip])),
      row(
        "the same with --busy-poll, on two cores", "× veth's time", 0.2, 0.5, isLessBetter: true,
        roundTrip?.ratio(.netcondBusyPoll, where: \.hasEndsApart)),
      row("nginx, keepalive, 1 KiB", "× veth", 1.0, 0.7, ratio([Name.nginx])),
      row("daemon memory beside \(most) idle", "bytes per connection", 1024, 3072, isLessBetter: true, idleBytes),
      row("slowdown beside \(most) idle", "%", 5, 15, isLessBetter: true, slowdown),
      row("20 ms and 1 % loss, the worse way", "× kernel, CUBIC", 1.0, 0.5, impaired(Catalogue.lossy)),
      row("40 ms, no loss, the worse way", "× kernel, CUBIC", 1.0, 0.7, impaired(Catalogue.distant)),
      row("two programs on one network", "× kernel loopback", 3, 1.5, ratio([Name.local])),
    ]
  }

  private func impaired(_ impairment: Impairment) -> Double? {
    ratio([true, false].map { Name.impaired($0, impairment) })
  }
}
