internal import DequeModule
internal import LwipGlue

/// What the daemon keeps of sockets it holds no end of any more: those whose connect failed, which may connect again on a
/// fresh pair, and both ends of direct connections. Bounded; the oldest are forgotten, and then have options as new
/// sockets have.
struct RetainedSockets {
  struct Entry {
    var options: SocketOptions
    /// Where the app bound the socket.
    var bound: Endpoint?
    /// What it spoke from.
    var local: Endpoint?
    /// Of an end of a direct connection: where the other end is to be found, until it was needed.
    var other: AppEnd?
  }

  /// Which socket an app's end is, and the process to look in first.
  struct AppEnd {
    let inode: UInt
    let process: Int32
  }

  private static let limit = 65_536

  private var entries: [UInt64: Entry] = [:]
  private var order: Deque<UInt64> = []

  /// By the cookie of the app's end.
  subscript(cookie: UInt64) -> Entry? { entries[cookie] }

  mutating func keep(_ entry: Entry, for cookie: UInt64) {
    if entries.updateValue(entry, forKey: cookie) == nil { order.append(cookie) }
    while order.count > Self.limit, let oldest = order.popFirst() { entries[oldest] = nil }
  }
}
