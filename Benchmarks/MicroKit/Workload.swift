/// One part of the data or control path, alone, as often as it is asked for.
public protocol Workload: AnyObject {
  /// Runs the operation `count` times.
  func run(_ count: Int)
  /// Compares what the operations left with what they must leave.
  /// - Throws: `WorkloadError` where it differs.
  func verify() throws
}

/// A workload that did something wrong: its figures mean nothing.
public struct WorkloadError: Error, CustomStringConvertible {
  public let description: String
  init(_ description: String) { self.description = description }
}

/// A workload by name: made when it is wanted, and gone before the next is made, since there is one lwIP in a process.
public struct WorkloadCase: Sendable, CustomStringConvertible {
  public let name: String
  public let make: @Sendable () throws -> any Workload
  public var description: String { name }

  /// What takes too long for the tests: 100,000 control blocks, of both ends.
  public static let large: [WorkloadCase] = [
    WorkloadCase(name: "control blocks: one segment among 50,000 connections") {
      try SegmentLookup(connections: 50_000)
    },
    WorkloadCase(name: "timers: one tick over 50,000 idle connections") { try TimerTick(connections: 50_000) },
  ]

  /// All others.
  public static let all: [WorkloadCase] = [
    WorkloadCase(name: "ring: 32 operations in one batch") { try RingBatch(operations: 32) },
    WorkloadCase(name: "slab: insert, find, remove") { SlabCycle() },
    WorkloadCase(name: "control blocks: one segment among 10 connections") { try SegmentLookup(connections: 10) },
    WorkloadCase(name: "control blocks: one segment among 5,000 connections") { try SegmentLookup(connections: 5000) },
    WorkloadCase(name: "timers: one tick over 10 idle connections") { try TimerTick(connections: 10) },
    WorkloadCase(name: "timers: one tick over 5,000 idle connections") { try TimerTick(connections: 5000) },
    WorkloadCase(name: "checksum: 1,460 bytes") { Checksum(bytes: 1460) },
    WorkloadCase(name: "checksum: 64 KiB") { Checksum(bytes: 65_536) },
    WorkloadCase(name: "RPC: a request there, decoded, a reply back") { try RPCExchange() },
    WorkloadCase(name: "frame: 64 KiB of pieces into a socketpair") { try FrameHop() },
  ]
}

/// The time that stacks of workloads are told, in nanoseconds. It never goes back: lwIP's timers outlive a stack.
public enum WorkloadClock {
  nonisolated(unsafe) public static var nanoseconds: UInt64 = 5_000_000_000
}
