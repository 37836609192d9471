import MicroKit
import Testing

extension StackTests {
  /// The micro-benchmarks' workloads, each once and small: a figure counts only if the work was done. Here, since some of
  /// them make a `Stack`.
  @Suite struct MicroBenchmarks {
    @Test("each workload does what it measures", arguments: WorkloadCase.all)
    func workload(_ workloadCase: WorkloadCase) throws {
      WorkloadClock.nanoseconds = max(WorkloadClock.nanoseconds, World.nanoseconds)
      defer { World.nanoseconds = max(WorkloadClock.nanoseconds, World.nanoseconds) }
      let workload = try workloadCase.make()
      workload.run(20)
      try workload.verify()
    }
  }
}
