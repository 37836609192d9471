internal import DequeModule
internal import Glibc
internal import LwipGlue
internal import NetcondRPC
internal import Slab

/// The ports of direct connections. Nobody tells the daemon when one has ended, for it holds no end; but the kernel keeps
/// a name bound for as long as the socket lives, so trying to bind it tells. Each new connection pays for looking at two
/// old ones.
struct DirectPorts {
  struct Entry {
    let network: Int
    let port: UInt16
    /// The key that the port is bound to in the network's table; the socket itself is gone.
    let socket: SlabKey
    let name: nc_name

    var hasEnded: Bool {
      let probe = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
      guard probe >= 0 else { return false }
      defer { close(probe) }
      return Pair.bindName(probe, name)
    }

    private func socket(_ family: Int32, _ type: Int32, _ kind: Int32) -> Int32 { Glibc.socket(family, type, kind) }
  }

  /// Below, ports are not worth looking for.
  private static let idle = 256

  private var entries: Deque<Entry> = []

  /// Notes a connection's port.
  /// - Returns: those that have ended meanwhile: their ports are the caller's to release.
  mutating func add(_ entry: Entry) -> [Entry] {
    entries.append(entry)
    return entries.count > Self.idle ? sweep(count: 2) { _ in true } : []
  }

  /// Looks at all that use `port`.
  mutating func collect(network: Int, port: UInt16) -> [Entry] {
    sweep(count: entries.count) { $0.network == network && $0.port == port }
  }

  /// Looks at `count` entries, those that `isWanted`.
  private mutating func sweep(count: Int, where isWanted: (Entry) -> Bool) -> [Entry] {
    var ended: [Entry] = []
    for _ in 0..<count {
      guard let entry = entries.popFirst() else { break }
      if isWanted(entry), entry.hasEnded { ended.append(entry) } else { entries.append(entry) }
    }
    return ended
  }
}
