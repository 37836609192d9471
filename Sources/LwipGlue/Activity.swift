/// How many connections move much at present: those share what buffers there are.
struct Activity {
  /// What one connection moved in a period.
  struct Share {
    var period: UInt32 = 0
    var bytes: UInt32 = 0
  }

  /// A period is 16 ms: long enough for each of many connections to have its turn, short beside what windows last.
  private static let periodShift: UInt64 = 4
  /// Whoever moves so much in a period counts. Ten thousand connections that exchange small messages do not.
  private static let leastBytes: UInt32 = 16 * 1024

  private var period: UInt32 = 0
  private var current = Counts()
  private var last = Counts()

  private struct Counts {
    var receivers = 0
    var senders = 0
    var all: Int { receivers + senders }
  }

  /// Connections that count, in this period or the last; at least 1.
  var count: Int { max(1, current.all, last.all) }

  /// Those of them that receive, and those that send; one that does both may be either.
  var receivers: Int { max(current.receivers, last.receivers) }
  var senders: Int { max(current.senders, last.senders) }

  /// Whether any does.
  var hasAny: Bool { current.all > 0 || last.all > 0 }

  /// A connection has received or sent `bytes` bytes.
  mutating func moved(_ bytes: Int, received: Bool, _ share: inout Share, nowMilliseconds: UInt64) {
    let now = UInt32(truncatingIfNeeded: nowMilliseconds >> Self.periodShift)
    if now != period {
      last = now == period &+ 1 ? current : Counts()
      current = Counts()
      period = now
    }
    if share.period != now { share = Share(period: now) }
    let before = share.bytes
    share.bytes = UInt32(clamping: Int(before) + bytes)
    if before < Self.leastBytes, share.bytes >= Self.leastBytes {
      if received { current.receivers += 1 } else { current.senders += 1 }
    }
  }
}

/// The least round trip to each address of late, of all connections there. One connection's own may be long because this
/// process was busy when it was measured, as when many are made at once; the path is not longer for that.
struct PathTimes {
  private struct Entry {
    var address: IPAddress
    var least: UInt32
    var endMilliseconds: UInt64
  }

  /// Direct-mapped: an address may drive another one out, which then counts anew.
  private static let entryCount = 256
  /// A minute: routes change.
  private static let lifetimeMilliseconds: UInt64 = 60_000
  private var entries = [Entry?](repeating: nil, count: entryCount)

  private func slot(_ address: IPAddress) -> Int { Int((address.high ^ address.low) % UInt64(Self.entryCount)) }

  /// Takes note of a round trip in microseconds.
  mutating func note(_ microseconds: UInt32, to address: IPAddress, nowMilliseconds: UInt64) {
    guard microseconds < least(to: address, nowMilliseconds: nowMilliseconds) else { return }
    entries[slot(address)] = Entry(
      address: address, least: microseconds, endMilliseconds: nowMilliseconds + Self.lifetimeMilliseconds)
  }

  /// The least round trip of late in microseconds; the largest number where none is known.
  func least(to address: IPAddress, nowMilliseconds: UInt64) -> UInt32 {
    guard let entry = entries[slot(address)], entry.address == address, entry.endMilliseconds > nowMilliseconds else {
      return .max
    }
    return entry.least
  }
}
