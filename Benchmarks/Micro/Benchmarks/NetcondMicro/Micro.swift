import Benchmark
import MicroKit

/// Every workload of MicroKit as a benchmark; what it left is verified after its last run.
let benchmarks: @Sendable () -> Void = {
  Benchmark.defaultConfiguration = .init(
    metrics: [.wallClock, .cpuTotal, .throughput], scalingFactor: .kilo, maxDuration: .seconds(2))
  for workloadCase in WorkloadCase.all + WorkloadCase.large {
    // "/" parts a benchmark's name from its target's, and names may be given as regular expressions.
    Benchmark(workloadCase.name) { benchmark in
      do {
        let workload = try workloadCase.make()
        workload.run(1)
        benchmark.startMeasurement()
        workload.run(benchmark.scaledIterations.count)
        benchmark.stopMeasurement()
        try workload.verify()
      } catch {
        benchmark.error("\(workloadCase.name): \(error)")
      }
    }
  }
}
