import Glibc
@testable import Links
import Testing

@Suite struct ReceiveSteeringTests {
  private final class Kernel {
    var written: [String] = []
  }

  private static let period = ReceiveSteering.periodNanoseconds

  /// Notes one period after the other; what arrived in each.
  private static func run(
    _ steering: ReceiveSteering, from start: UInt64 = 1, periods: Int, bytes: UInt64, receivers: Int, senders: Int = 0
  ) -> UInt64 {
    var total = start * 1_000_000_000
    var now = start * 1_000_000_000
    for _ in 0..<periods {
      total += bytes
      now += period
      steering.note(receivedBytes: total, receivers: receivers, senders: senders, now: now)
    }
    return now
  }

  private func make() -> (ReceiveSteering, Kernel) {
    let kernel = Kernel()
    return (
      ReceiveSteering(cpuCount: 2) {
        kernel.written.append($0)
        return true
      }, kernel
    )
  }

  @Test(arguments: [
    (2, 0, "2"), (2, 1, "1"), (4, 2, "b"), (32, 31, "7fffffff"), (33, 32, "0,ffffffff"), (40, 3, "ff,fffffff7"),
    (4, -1, "f"),
  ])
  func `the mask is all CPUs but one, as the kernel writes it`(count: Int, cpu: Int, mask: String) {
    #expect(ReceiveSteering.mask(cpuCount: count, without: cpu) == mask)
  }

  @Test func `much by several connections is steered, and less no more`() {
    let (steering, kernel) = make()
    _ = Self.run(steering, periods: 10, bytes: 8 << 20, receivers: 2)
    #expect(steering.isSteering)
    #expect(kernel.written.count == 1)
    #expect(["1", "2", "3"].contains(kernel.written[0]))
    var now: UInt64 = 1_000_000_000 + 10 * Self.period
    for _ in 0..<ReceiveSteering.periodsToEnd {
      #expect(steering.isSteering, "a short lull ends nothing")
      now += Self.period
      steering.note(receivedBytes: 1_000_000_000 + 80 << 20, receivers: 1, senders: 0, now: now)
    }
    #expect(!steering.isSteering)
    #expect(kernel.written.last == "0")
  }

  @Test(arguments: [(8 << 20, 0, 0), (1 << 20, 64, 0), (1 << 20, 1, 0), (8 << 20, 64, 1), (8 << 20, 1, 1)])
  func `little, and what is sent besides, are not`(bytes: Int, receivers: Int, senders: Int) {
    let (steering, kernel) = make()
    _ = Self.run(steering, periods: 100, bytes: UInt64(bytes), receivers: receivers, senders: senders)
    #expect(kernel.written.isEmpty)
  }

  /// Notes periods of one stream, of which so much arrives with steering and so much without; how many were steered.
  private static func runOne(
    _ steering: ReceiveSteering, periods: Int, steered: UInt64, unsteered: UInt64, total: inout UInt64,
    now: inout UInt64
  ) -> Int {
    var count = 0
    for _ in 0..<periods {
      if steering.isSteering { count += 1 }
      total += steering.isSteering ? steered : unsteered
      now += period
      steering.note(receivedBytes: total, receivers: 1, senders: 0, now: now)
    }
    return count
  }

  @Test(arguments: [(9 << 20, 8 << 20, true), (8 << 20, 9 << 20, false), (8 << 20, 8 << 20, false)])
  func `of one stream the way that moves more stays`(steered: Int, unsteered: Int, isBetter: Bool) {
    let (steering, kernel) = make()
    var (total, now) = (UInt64(0), UInt64(1_000_000_000))
    let tried = 2 * (SteeringComparison.length + 1) + 1
    let count = Self.runOne(
      steering, periods: tried, steered: UInt64(steered), unsteered: UInt64(unsteered), total: &total, now: &now)
    #expect((SteeringComparison.length...SteeringComparison.length + 1).contains(count))
    #expect(steering.isSteering == isBetter)
    #expect(kernel.written.last == "0" || isBetter)
    let rest = Self.runOne(
      steering, periods: SteeringComparison.leastRest - 1, steered: UInt64(steered), unsteered: UInt64(unsteered),
      total: &total, now: &now)
    #expect(rest == (isBetter ? SteeringComparison.leastRest - 1 : 0))
  }

  @Test func `what one stream has shown is asked again, and is no more when it changes`() {
    let (steering, _) = make()
    var (total, now) = (UInt64(0), UInt64(1_000_000_000))
    _ = Self.runOne(steering, periods: 20, steered: 9 << 20, unsteered: 8 << 20, total: &total, now: &now)
    #expect(steering.isSteering)
    _ = Self.runOne(
      steering, periods: 2 * SteeringComparison.leastRest, steered: 8 << 20, unsteered: 9 << 20, total: &total,
      now: &now)
    #expect(!steering.isSteering)
  }

  @Test func `a stream that ends while the other way is tried decides nothing`() {
    var comparison = SteeringComparison()
    for _ in 0...SteeringComparison.length { comparison.note(8 << 20) }
    #expect(comparison.isSteering, "the other way")
    comparison.note(1 << 30)
    comparison.interrupt()
    #expect(!comparison.isSteering)
    for _ in 0..<SteeringComparison.length { comparison.note(8 << 20) }
    #expect(!comparison.isSteering, "counted from the beginning")
  }

  @Test func `the longer a choice stands, the longer it rests`() {
    var comparison = SteeringComparison()
    var tries: [Int] = []
    var wasTrying = false
    for period in 0..<4 * SteeringComparison.mostRest {
      let isTrying = comparison.isSteering
      if isTrying, !wasTrying { tries.append(period) }
      wasTrying = isTrying
      comparison.note(isTrying ? 7 << 20 : 8 << 20)
    }
    let gaps = zip(tries.dropFirst(), tries).map { $0 - $1 }
    #expect(gaps.count >= 5)
    for (gap, next) in zip(gaps, gaps.dropFirst()) { #expect(next > gap || gap > SteeringComparison.mostRest) }
    #expect(gaps.allSatisfy { $0 < SteeringComparison.mostRest + 3 * SteeringComparison.length })
  }

  @Test func `after a pause nothing is steered`() {
    let (steering, kernel) = make()
    let now = Self.run(steering, periods: 10, bytes: 8 << 20, receivers: 2)
    steering.note(receivedBytes: .max, receivers: 2, senders: 0, now: now + 1_000_000_000)
    #expect(!steering.isSteering)
    #expect(kernel.written.last == "0")
  }

  @Test func `the CPUs are chosen anew now and then, as the daemon moves`() {
    let (steering, kernel) = make()
    _ = Self.run(steering, periods: 3 * ReceiveSteering.periodsToRenew, bytes: 8 << 20, receivers: 2)
    #expect((3...4).contains(kernel.written.count))
    #expect(!kernel.written.contains("0"))
  }

  @Test(.enabled(if: geteuid() == 0 && access("/dev/net/tun", R_OK | W_OK) == 0, "needs root and /dev/net/tun"))
  func `a tap's own file is written, and what its owner has chosen is left alone`() throws {
    let device = try TapDevice(name: "ts\(getpid())", wantsOffloads: true)
    let found = device.sysfsFolder
    let folder = try #require(found)
    let isPersistent = device.isPersistent
    #expect(!isPersistent)
    let path = "\(folder)/queues/rx-0/rps_cpus"
    do {
      guard sysconf(Int32(_SC_NPROCESSORS_CONF)) > 1 else { return }
      let made = ReceiveSteering(device)
      let steering = try #require(made)
      _ = Self.run(steering, periods: 4, bytes: 8 << 20, receivers: 2)
      #expect(steering.isSteering)
      let steered = try Self.bits(path)
      #expect(steered != 0)
      steering.end()
      let ended = try Self.bits(path)
      #expect(ended == 0)
    }
    let file = try #require(fopen(path, "w"))
    fputs("1", file)
    fclose(file)
    let another = ReceiveSteering(device)
    #expect(another == nil)
  }

  private static func bits(_ path: String) throws -> UInt64 {
    let file = try #require(fopen(path, "r"))
    defer { fclose(file) }
    var text = [CChar](repeating: 0, count: 256)
    _ = try #require(fgets(&text, 256, file))
    let digits = text.prefix { $0 != 0 && $0 != 10 }.filter { $0 != 44 }.map { UInt8(bitPattern: $0) }
    return try #require(UInt64(String(decoding: digits, as: UTF8.self), radix: 16))
  }
}
