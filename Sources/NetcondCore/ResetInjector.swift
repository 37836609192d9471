internal import CSocket
internal import Glibc

/// Makes an app's end report ECONNRESET when the daemon's end closes.
///
/// Theory of operation: a unix socket gives its peer ECONNRESET only where it is closed with bytes unread
/// (unix_release_sock in net/unix/af_unix.c). A connection that the peer reset often has none; closed like that it would
/// look to the app like an orderly end, and a cut transfer like a whole one. So the daemon borrows the app's end for a
/// moment and writes a byte of its own into it. It keeps no copy (docs/rpc.md), so it has to find it: the process that
/// made the socket first, then the others. Where tracing is not permitted, the app sees the end of file after all.
struct ResetInjector {
  /// Searches through all processes in any second; a storm of resets must not stop the loop.
  private static let searchesPerSecond = 50

  private var second: UInt64 = 0
  private var searches = 0

  /// Writes a byte into the socket `inode` of some process.
  /// - Parameter process: where to look first.
  /// - Returns: whether it was found and written.
  mutating func inject(inode: UInt, process: Int32, now: UInt64) -> Bool {
    if process > 0, Self.inject(inode, into: process) { return true }
    if now / 1_000_000_000 != second {
      second = now / 1_000_000_000
      searches = 0
    }
    guard searches < Self.searchesPerSecond else { return false }
    searches += 1
    return Self.entries(of: "/proc").contains { name in
      Int32(name).map { $0 != process && Self.inject(inode, into: $0) } ?? false
    }
  }

  private static func inject(_ inode: UInt, into process: Int32) -> Bool {
    let folder = "/proc/\(process)/fd"
    for name in entries(of: folder) {
      guard let number = Int32(name), link("\(folder)/\(name)") == "socket:[\(inode)]" else { continue }
      let fd = nc_borrow_descriptor(process, number)
      guard fd >= 0 else { return false }
      defer { close(fd) }
      guard nc_socket_inode(fd) == inode else { continue }  // closed and used again meanwhile
      var byte: UInt8 = 0
      return send(fd, &byte, 1, Int32(MSG_DONTWAIT) | Int32(MSG_NOSIGNAL)) == 1 || errno == EAGAIN
    }
    return false
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
