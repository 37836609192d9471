internal import CTun
internal import Glibc

/// On which CPUs the host's stack works on the frames that are written to a TAP: the writer's, or others (Receive Packet
/// Steering; Linux Documentation/networking/scaling.rst).
///
/// Theory of operation: without steering the host works on a frame within write(2), and on an acknowledgement that is: to send
/// what it lets go. Of several senders, which sleep until they may send more, nearly all comes to be done by the daemon, whose CPU is
/// full while theirs is idle. So while much arrives by several connections, frames are handed to the other CPUs. One sender that
/// never waits does most of that itself, where its CPU is the one that is full, and where the daemon's is, it does not: on one
/// machine steering made one stream slower, on another 16 % faster, so it is tried (`SteeringComparison`). In all other cases there is
/// none: it takes an interrupt of theirs for each, to wake them costs a round trip more than the work itself, and receivers of
/// what the daemon sends are served better on its own CPU.
///
/// The file is opened at once, as the device may be moved to a network namespace whose files are not seen from here.
final class ReceiveSteering {
  /// Work is looked at once in so many nanoseconds.
  static let periodNanoseconds: UInt64 = 16_000_000
  /// Received in a period, it is much: 2 Gbit/s.
  static let leastBytes: UInt64 = 4 << 20
  /// So many connections are several.
  static let leastReceivers = 2
  /// Periods of much, one after the other, before frames are steered, and of less before they no longer are.
  static let periodsToBegin = 3
  static let periodsToEnd = 30
  /// How often the CPUs are chosen anew: the daemon may have moved to another.
  static let periodsToRenew = 60

  private let write: (String) -> Bool
  private let cpuCount: Int
  private(set) var isSteering = false
  private var comparison = SteeringComparison()
  private var periodEnd: UInt64 = 0
  private var bytesBefore: UInt64 = 0
  private var periodsOfMuch = 0
  private var periodsOfLess = 0
  private var age = 0

  /// - Parameters:
  ///   - cpuCount: CPUs of the machine, numbered from 0.
  ///   - write: sets the CPUs, as the kernel's list of bits; false where that fails.
  init(cpuCount: Int, write: @escaping (String) -> Bool) {
    self.cpuCount = cpuCount
    self.write = write
  }

  /// nil where there is nothing to choose from or no right to, and of a device that outlives its user or whose owner has chosen.
  convenience init?(_ device: borrowing TapDevice) {
    let cpuCount = sysconf(Int32(_SC_NPROCESSORS_CONF))
    guard cpuCount > 1, !device.isPersistent, let folder = device.sysfsFolder else { return nil }
    guard let file = KernelFile("\(folder)/queues/rx-0/rps_cpus", flags: O_RDWR),
      file.readText()?.allSatisfy({ "0,\n".contains($0) }) == true
    else { return nil }
    self.init(cpuCount: cpuCount) { file.write($0) }
  }

  /// Takes note of the link's work; often.
  /// - Parameters:
  ///   - receivedBytes: by the link since it started.
  ///   - receivers, senders: connections that receive or send much at present.
  ///   - now: monotonic nanoseconds.
  func note(receivedBytes: UInt64, receivers: Int, senders: Int, now: UInt64) {
    guard now >= periodEnd else { return }
    let isNext = now < periodEnd + Self.periodNanoseconds  // else there was a pause, which says: less
    let moved = receivedBytes - bytesBefore
    periodEnd = now + Self.periodNanoseconds
    bytesBefore = receivedBytes
    age += 1
    let isMuch = isNext && moved >= Self.leastBytes && receivers > 0 && senders == 0
    periodsOfMuch = isMuch ? periodsOfMuch + 1 : 0
    periodsOfLess = isMuch ? 0 : periodsOfLess + 1
    var isWanted = true
    if isMuch && receivers < Self.leastReceivers {
      comparison.note(moved)
      isWanted = comparison.isSteering
    } else {
      comparison.interrupt()
    }
    if !isSteering {
      if isWanted, periodsOfMuch >= Self.periodsToBegin { begin() }
    } else if !isWanted || !isNext || periodsOfLess >= Self.periodsToEnd {
      end()
    } else if age >= Self.periodsToRenew {
      begin()
    }
  }

  /// On all CPUs but the one that this runs on.
  private func begin() {
    (periodsOfMuch, age) = (0, 0)
    isSteering = write(Self.mask(cpuCount: cpuCount, without: Int(nc_current_cpu())))
  }

  func end() {
    guard isSteering else { return }
    isSteering = false
    _ = write("0")
  }

  /// The kernel's form: hexadecimal, groups of 32 bits with commas between them, the highest first.
  static func mask(cpuCount: Int, without cpu: Int) -> String {
    let words = (0..<(cpuCount + 31) / 32).map { word in
      (0..<32).reduce(UInt32(0)) { bits, bit in
        let number = word * 32 + bit
        return number < cpuCount && number != cpu ? bits | 1 << UInt32(bit) : bits
      }
    }
    return words.reversed().map { String($0, radix: 16) }.joined(separator: ",")
  }
}
