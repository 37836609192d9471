import BenchKit

runBench()
