internal import Glibc

/// The time of deadlines: CLOCK_MONOTONIC, in nanoseconds. Read by vDSO where the clock source has one, some 25 ns.
public func monotonicNanoseconds() -> UInt64 {
  var time = timespec()
  clock_gettime(CLOCK_MONOTONIC, &time)
  return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
}
