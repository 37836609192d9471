/// One measurement.
struct Sample: Codable, Sendable {
  /// In the workload's unit.
  let figure: Double
  let seconds: Double
  let appCPUSeconds: Double
  let daemonCPUSeconds: Double
  let peerCPUSeconds: Double
}

/// All measurements of one workload, side and place.
struct Series: Codable, Sendable {
  let workload: Workload
  let side: Side
  let placement: Placement
  var samples: [Sample] = []
  /// What failed, if anything did.
  var problems: [String] = []

  /// The middle figure; 0 when all failed.
  var median: Double { Series.median(samples.map(\.figure)) }
  var minimum: Double { samples.map(\.figure).min() ?? 0 }
  var maximum: Double { samples.map(\.figure).max() ?? 0 }

  /// CPU time of one part per second of the measurement: 1 is a whole core.
  func cores(_ part: KeyPath<Sample, Double>) -> Double {
    Series.median(samples.map { $0.seconds > 0 ? $0[keyPath: part] / $0.seconds : 0 })
  }

  /// The middle value, or the mean of the two middle ones; 0 of none.
  static func median(_ values: [Double]) -> Double {
    let sorted = values.sorted()
    guard !sorted.isEmpty else { return 0 }
    let middle = sorted.count / 2
    return sorted.count % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
  }
}

/// The better place of each side for one workload, chosen alike: by the median.
struct Verdict: Codable, Sendable {
  let workload: Workload
  let unit: String
  let netcond: Double
  let netcondPlacement: String
  let kernel: Double
  let kernelPlacement: String
  /// netcond / kernel.
  let ratio: Double
  let floor: Double?

  init?(_ workload: Workload, _ series: [Series]) {
    let mine = series.filter { $0.workload == workload && !$0.samples.isEmpty }
    guard let ours = mine.filter({ $0.side == .netcond }).max(by: { $0.median < $1.median }),
      let theirs = mine.filter({ $0.side == .kernel }).max(by: { $0.median < $1.median })
    else { return nil }
    self.workload = workload
    unit = workload.unit
    netcond = ours.median
    netcondPlacement = ours.placement.description
    kernel = theirs.median
    kernelPlacement = theirs.placement.description
    ratio = theirs.median > 0 ? ours.median / theirs.median : 0
    floor = workload.floor
  }

  var meetsFloor: Bool { floor.map { ratio >= $0 } ?? true }
}

/// What is written as JSON.
struct Comparison: Codable, Sendable {
  struct Settings: Codable, Sendable {
    let rounds: Int
    /// Of one measurement.
    let seconds: Double
    let chunkBytes: Int
    let mtuBytes: Int
  }

  let machine: Machine
  let settings: Settings
  let verdicts: [Verdict]
  let series: [Series]

  init(_ settings: Settings, _ series: [Series]) {
    machine = Machine.current()
    self.settings = settings
    self.series = series
    verdicts = Workload.allCases.compactMap { Verdict($0, series) }
  }
}
