@testable import LwipGlue
import Slab
import Testing

@Suite struct TimerWheelTests {
  private func key(_ index: UInt32) -> SlabKey { SlabKey(index: index, generation: 1) }

  @Test func `keys come out at their ticks, in order`() {
    var wheel = TimerWheel()
    #expect(wheel.nextTick == nil)
    let start: UInt64 = 5_000_000
    for (index, after) in [7, 1, 900, 7, 64].enumerated() {
      #expect(wheel.put(key(UInt32(index)), at: start + UInt64(after), now: start) == start + UInt64(after))
    }
    #expect(wheel.nextTick == start + 1)
    #expect(wheel.takeDue(now: start).isEmpty)
    #expect(wheel.takeDue(now: start + 10).map(\.key.index) == [1, 0, 3])
    #expect(wheel.nextTick == start + 64)
    #expect(wheel.takeDue(now: start + 5000).map(\.key.index) == [4, 2])
    #expect(wheel.nextTick == nil)
  }

  @Test func `what is due late or was due before is put as near as there are slots`() {
    var wheel = TimerWheel()
    #expect(wheel.put(key(1), at: 100_000, now: 10_000) == 11_023)
    #expect(wheel.put(key(2), at: 3, now: 10_000) == 10_001)
    #expect(wheel.takeDue(now: 10_001).map(\.key.index) == [2])
    #expect(wheel.nextTick == 11_023)
  }
}

@Suite struct CongestionWindowTests {
  private let segment = 1000

  /// Round trips of `milliseconds`, each acknowledging a whole window.
  private func run(_ window: inout CongestionWindow, rounds: Int, milliseconds: UInt32, from start: UInt64 = 0) {
    for round in 0..<rounds {
      let now = start + UInt64(round + 1) * UInt64(milliseconds) * 1000
      for _ in 0..<max(1, window.bytes / segment) {
        window.grow(acknowledged: segment, segmentBytes: segment, now: now, roundTrip: milliseconds * 1000)
      }
    }
  }

  @Test func `slow start doubles, a loss takes three tenths, and CUBIC comes back to where it was`() {
    var window = CongestionWindow(segmentBytes: segment)
    #expect(window.bytes == 10 * segment)
    run(&window, rounds: 3, milliseconds: 20)
    #expect(window.bytes == 80 * segment)
    window.reduce(segmentBytes: segment)
    #expect(window.threshold == 56 * segment)
    window.set(window.threshold)
    // K = cbrt(24 / 0.4) = 3.9 s (RFC 9438 section 4.2); on a path as long as this, Reno would not be there yet.
    run(&window, rounds: 20, milliseconds: 200, from: 1_000_000)
    #expect(abs(window.bytes - 80 * segment) <= 4 * segment)
    let plateau = window.bytes
    run(&window, rounds: 25, milliseconds: 200, from: 5_000_000)
    #expect(window.bytes > plateau + 20 * segment)
  }

  @Test func `a reduction for nothing is taken back, once`() {
    var window = CongestionWindow(segmentBytes: segment)
    run(&window, rounds: 2, milliseconds: 20)
    window.reduce(segmentBytes: segment)
    window.set(segment)
    window.restore()
    #expect(window.bytes == 40 * segment && window.threshold == .max)
    window.set(segment)
    window.restore()
    #expect(window.bytes == segment)
  }

  @Test func `slow start is left when round trips grow`() {
    var window = CongestionWindow(segmentBytes: segment)
    window.begin(at: 0)
    var sequence: UInt32 = 0
    for (round, milliseconds) in [20, 20, 20, 30, 30, 30, 30, 30, 30, 30].enumerated() {
      for _ in 0..<10 {
        sequence += 100
        window.measure(roundTrip: UInt32(milliseconds) * 1000, acknowledged: sequence, next: UInt32(round + 1) * 1000)
      }
    }
    #expect(window.threshold == window.bytes)
  }

  @Test func `what rests shrinks to the initial window`() {
    var window = CongestionWindow(segmentBytes: segment)
    run(&window, rounds: 5, milliseconds: 20)
    window.rest(microseconds: 100_000, timeout: 200_000, segmentBytes: segment)
    #expect(window.bytes == 320 * segment)
    window.rest(microseconds: 450_000, timeout: 200_000, segmentBytes: segment)
    #expect(window.bytes == 80 * segment)
    window.rest(microseconds: 9_000_000, timeout: 200_000, segmentBytes: segment)
    #expect(window.bytes == 10 * segment)
  }
}
