internal import CSocket
internal import Glibc
internal import NetcondRPC
internal import UringLoop

/// Finds apps' ends again in the processes that hold them.
///
/// Theory of operation: the daemon keeps no copy of an app's end (docs/rpc.md), because that would hide that the app has
/// closed it. Twice it needs one for a moment. To make it report ECONNRESET: a unix socket gives its peer that only where
/// it is closed with bytes unread (unix_release_sock in net/unix/af_unix.c); a connection that the peer reset often has
/// none, and closed like that it would look to the app like an orderly end, and a cut transfer like a whole one. And to
/// give it its full send buffer when a connect has succeeded after a while. So it looks: in the process that made the
/// socket, then in the others. A listing of a process's descriptors serves many, and the time spent is bounded; beyond,
/// and where tracing is not permitted, the app sees an end of file, or has a small send buffer.
struct AppEnds {
  /// Nanoseconds that may be spent in any second.
  private static let budgetPerSecond: UInt64 = 200_000_000

  /// A listing that is younger than the connection but lacks its socket, which may have been accepted since, is made anew
  /// only after this many times what it took: a storm must not list a large process for each.
  private static let listingPause: UInt64 = 4

  /// The sockets of a process: inodes with descriptors, as they were at `time`. What is found is verified before use.
  private struct Listing {
    let time: UInt64
    let pauseEnd: UInt64
    let sockets: [UInt: Int32]
  }

  private var listings: [Int32: Listing] = [:]
  private var second: UInt64 = 0
  private var spent: UInt64 = 0

  /// Makes the socket `inode` of some process report `error` when its peer closes next, if it can be found.
  /// - Parameters:
  ///   - process: where to look first.
  ///   - searchesAll: look in the other processes as well.
  ///   - time: since when the process may have had it, in nanoseconds of the monotonic clock.
  mutating func inject(
    inode: UInt, process: Int32, since time: UInt64, searchesAll: Bool, error: Int32
  ) -> Bool {
    guard let fd = borrow(inode: inode, process: process, since: time, searchesAll: searchesAll) else { return false }
    defer { close(fd) }
    // The kernel will say ECONNRESET; the library knows better then (docs/rpc.md, "Names").
    if error != ECONNRESET { nc_add_marks(fd, error << Int32(NC_MARK_ERROR_SHIFT)) }
    var byte: UInt8 = 0
    send(fd, &byte, 1, Int32(MSG_DONTWAIT) | Int32(MSG_NOSIGNAL))
    return true
  }

  /// A copy of the socket `inode` of some process, which the caller closes; nil where it is not found.
  /// - Parameters: as of `inject`.
  mutating func borrow(inode: UInt, process: Int32, since time: UInt64, searchesAll: Bool = true) -> Int32? {
    let start = monotonicNanoseconds()
    if start / 1_000_000_000 != second {
      second = start / 1_000_000_000
      spent = 0
      listings = [:]
    }
    guard spent < Self.budgetPerSecond else { return nil }
    defer { spent += monotonicNanoseconds() - start }
    if let fd = take(inode, from: process, since: time) { return fd }
    guard searchesAll else { return nil }
    for name in Self.entries(of: "/proc") {
      guard let other = Int32(name), other != process else { continue }
      if let fd = take(inode, from: other, since: time) { return fd }
      if monotonicNanoseconds() - start + spent > Self.budgetPerSecond { break }
    }
    return nil
  }

  private mutating func take(_ inode: UInt, from process: Int32, since time: UInt64) -> Int32? {
    guard let number = find(inode, in: process, since: time) else { return nil }
    let fd = nc_borrow_descriptor(process, number)
    guard fd >= 0 else { return nil }
    guard nc_socket_inode(fd) == inode else {  // closed and used again meanwhile
      close(fd)
      return nil
    }
    return fd
  }

  private mutating func find(_ inode: UInt, in process: Int32, since time: UInt64) -> Int32? {
    let now = monotonicNanoseconds()
    if let listing = listings[process] {
      if let number = listing.sockets[inode] { return number }
      if now < listing.pauseEnd, time <= listing.time { return nil }
    }
    let found = Self.sockets(of: process)
    let end = monotonicNanoseconds()
    let listing = Listing(time: now, pauseEnd: end + (end - now) * Self.listingPause, sockets: found)
    listings[process] = listing
    return listing.sockets[inode]
  }

  private static func sockets(of process: Int32) -> [UInt: Int32] {
    let folder = "/proc/\(process)/fd"
    var table: [UInt: Int32] = [:]
    for name in entries(of: folder) {
      let target = link("\(folder)/\(name)")  // socket:[INODE]
      guard let number = Int32(name), target.hasPrefix("socket:["), let inode = UInt(target.dropFirst(8).dropLast())
      else {
        continue
      }
      table[inode] = number
    }
    return table
  }

  private static func entries(of folder: String) -> [String] {
    guard let stream = opendir(folder) else { return [] }
    defer { closedir(stream) }
    var names: [String] = []
    while let entry = readdir(stream) {
      names.append(
        withUnsafeBytes(of: &entry.pointee.d_name) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) })
    }
    return names
  }

  private static func link(_ path: String) -> String {
    withUnsafeTemporaryAllocation(byteCount: 64, alignment: 1) { buffer in
      let count = readlink(path, buffer.baseAddress!.assumingMemoryBound(to: CChar.self), buffer.count)
      return count > 0 ? String(decoding: buffer.prefix(count), as: UTF8.self) : ""
    }
  }
}
