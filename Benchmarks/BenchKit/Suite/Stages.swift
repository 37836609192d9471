internal import TestSupport

/// The stages of a run: made when they are first needed, kept until the end, so that rounds can take turns on them.
final class Stages {
  private struct Key: Hashable {
    let wiring: Wiring
    let contender: Contender
  }

  private let binaries: Binaries
  private var made: [Key: Result<any Stage, SupportError>] = [:]
  /// What the first daemon on a tap told at its start.
  private(set) var daemonLog: [String] = []

  init(_ binaries: Binaries) { self.binaries = binaries }

  func stage(_ wiring: Wiring, _ contender: Contender) throws -> any Stage {
    let key = Key(wiring: wiring, contender: contender)
    if let known = made[key] { return try known.get() }
    let result: Result<any Stage, SupportError>
    do {
      result = .success(try make(wiring, contender))
    } catch let error as SupportError {
      result = .failure(error)
    }
    made[key] = result
    return try result.get()
  }

  /// Ends a stage on which something failed: the next measurement makes it anew. One that could not be made is not tried
  /// again.
  func discard(_ wiring: Wiring, _ contender: Contender) {
    let key = Key(wiring: wiring, contender: contender)
    if case .success = made[key] { made[key] = nil }
  }

  private func make(_ wiring: Wiring, _ contender: Contender) throws -> any Stage {
    switch (wiring, contender) {
    case (.impaired(let impairment), _): return try ImpairedStage(contender, impairment, binaries)
    case (.idle(0), _): return try make(.link, contender)
    case (.idle(let count), _):
      return try IdleStage(make(.link, contender), make(.link, contender), count: count, binaries)
    case (_, .pasta), (_, .slirp4netns): return try TranslatorStage(contender)
    case (_, .kernelCubic): return try VethStage(congestionControl: Congestion.cubic)
    case (.local, .kernel): return try LoopbackStage()
    case (.local, _): return try InterceptedPairStage(binaries, areOnOneNetwork: true)
    case (.hub, .netcond): return try InterceptedPairStage(binaries, areOnOneNetwork: false)
    case (.link, .netcond), (.link, .netcondBusyPoll):
      let stage = try TapStage(binaries, isBusyPolling: contender == .netcondBusyPoll)
      if daemonLog.isEmpty { daemonLog = stage.daemon.standardError.split(separator: "\n").map(String.init) }
      return stage
    default: return try VethStage()
    }
  }
}
