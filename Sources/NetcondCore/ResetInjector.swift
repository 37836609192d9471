internal import CSocket
internal import Glibc

/// Makes an app's end report ECONNRESET when the daemon's end closes.
///
/// Theory of operation: a unix socket gives its peer ECONNRESET only where it is closed with bytes unread
/// (unix_release_sock in net/unix/af_unix.c). A connection that the peer reset often has none; closed like that it would
/// look to the app like an orderly end, and a cut transfer like a whole one. So the daemon borrows the app's end for a
/// moment and writes a byte of its own into it. It keeps no copy (docs/rpc.md), so it has to find it: in the process that
/// made the socket, then in the others. A listing of a process's descriptors serves many resets, and the time spent is
/// bounded; beyond, and where tracing is not permitted, the app sees the end of file after all.
struct ResetInjector {
  /// Nanoseconds that may be spent in any second.
  private static let budgetPerSecond: UInt64 = 200_000_000

  /// A listing that lacks a socket is made anew only after this long.
  private static let listingNanoseconds: UInt64 = 50_000_000

  /// The sockets of a process: inodes with descriptors, as they were at `time`. What is found is verified before use.
  private struct Listing {
    let time: UInt64
    let sockets: [UInt: Int32]
  }

  private var listings: [Int32: Listing] = [:]
  private var second: UInt64 = 0
  private var spent: UInt64 = 0

  /// Writes a byte into the socket `inode` of some process, if it can be found.
  /// - Parameter process: where to look first.
  mutating func inject(inode: UInt, process: Int32) {
    let start = monotonicNanoseconds()
    if start / 1_000_000_000 != second {
      second = start / 1_000_000_000
      spent = 0
      listings = [:]
    }
    guard spent < Self.budgetPerSecond else { return }
    if !write(inode, into: process) {
      for name in Self.entries(of: "/proc") {
        guard let other = Int32(name), other != process else { continue }
        if write(inode, into: other) || monotonicNanoseconds() - start + spent > Self.budgetPerSecond { break }
      }
    }
    spent += monotonicNanoseconds() - start
  }

  private mutating func write(_ inode: UInt, into process: Int32) -> Bool {
    guard let number = find(inode, in: process) else { return false }
    let fd = nc_borrow_descriptor(process, number)
    guard fd >= 0 else { return false }
    defer { close(fd) }
    guard nc_socket_inode(fd) == inode else { return false }  // closed and used again meanwhile
    var byte: UInt8 = 0
    return send(fd, &byte, 1, Int32(MSG_DONTWAIT) | Int32(MSG_NOSIGNAL)) == 1 || errno == EAGAIN
  }

  private mutating func find(_ inode: UInt, in process: Int32) -> Int32? {
    let now = monotonicNanoseconds()
    if let listing = listings[process] {
      if let number = listing.sockets[inode] { return number }
      if now < listing.time + Self.listingNanoseconds { return nil }
    }
    let listing = Listing(time: now, sockets: Self.sockets(of: process))
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
