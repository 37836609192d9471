internal import CSocket
internal import Glibc
internal import UringLoop

/// A walk through the sockets that processes have open (proc_pid_fd(5)), some descriptors at a time: a process may have a
/// hundred thousand.
final class DescriptorWalk {
  /// A socket's descriptor in some process, as it was when the walk came there.
  struct Spot {
    let process: Int32
    let number: Int32
  }

  /// When the walk began, in nanoseconds of the monotonic clock: it sees what was open then and stayed so.
  let time = monotonicNanoseconds()
  /// By inode.
  private(set) var sockets: [UInt: Spot] = [:]
  private let wanted: Set<UInt>?
  private var processes: [Int32]
  /// What is being read: the descriptors of a process, or, of none, the processes.
  private var current: (process: Int32?, reader: DirectoryReader)?

  /// The sockets of a process, which has none where it is gone, or may not be looked at.
  init(process: Int32) {
    wanted = nil
    processes = [process]
  }

  /// Of all processes that can be seen, but this one, those sockets whose inodes are `wanted`.
  init(wanted: Set<UInt>) {
    self.wanted = wanted
    processes = []
    current = DirectoryReader("/proc").map { (nil, $0) }
  }

  /// Walks on.
  /// - Parameter count: descriptors to look at, at most, a process counting as two more; on return what is left of that.
  /// - Returns: whether the walk is over.
  func advance(_ count: inout Int) -> Bool {
    while count > 0 {
      count -= 1
      guard let (process, reader) = current else {
        guard let next = processes.popLast() else { return true }
        current = DirectoryReader("/proc/\(next)/fd").map { (next, $0) }
        continue
      }
      guard let entry = reader.next() else {
        current = nil
        continue
      }
      guard let number = Self.number(entry) else { continue }
      guard let process else {
        if number != getpid() { processes.append(number) }
        continue
      }
      guard let inode = Self.socket(entry, in: reader.descriptor) else { continue }
      if wanted?.contains(inode) != false { sockets[inode] = Spot(process: process, number: number) }
    }
    return false
  }

  private static func name(_ entry: UnsafeMutablePointer<dirent>) -> UnsafePointer<CChar> {
    UnsafeRawPointer(entry).advanced(by: MemoryLayout<dirent>.offset(of: \.d_name)!).assumingMemoryBound(to: CChar.self)
  }

  private static func number(_ entry: UnsafeMutablePointer<dirent>) -> Int32? { Int32(String(cString: name(entry))) }

  /// The inode of the socket that a descriptor is; nil where it is something else.
  private static func socket(_ entry: UnsafeMutablePointer<dirent>, in directory: Int32) -> UInt? {
    withUnsafeTemporaryAllocation(byteCount: 32, alignment: 1) { buffer in
      let target = buffer.baseAddress!.assumingMemoryBound(to: CChar.self)
      let count = readlinkat(directory, name(entry), target, buffer.count - 1)
      let prefix = "socket:["
      guard count > prefix.utf8.count, strncmp(target, prefix, prefix.utf8.count) == 0 else { return nil }
      target[count] = 0
      return strtoul(target + prefix.utf8.count, nil, 10)
    }
  }
}

/// Entries of a directory, some at a time: in /proc the kernel takes a microsecond for each, and readdir(3) asks for a
/// thousand at once.
private final class DirectoryReader {
  private static let bufferBytes = 4096
  let descriptor: Int32
  private let buffer: UnsafeMutableRawPointer
  private var (offset, end) = (0, 0)

  /// nil where it cannot be read.
  init?(_ path: String) {
    let opened = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard opened >= 0 else { return nil }
    descriptor = opened
    buffer = .allocate(byteCount: Self.bufferBytes, alignment: 8)
  }

  deinit {
    close(descriptor)
    buffer.deallocate()
  }

  /// Stays valid until the next one is asked for; nil at the end.
  func next() -> UnsafeMutablePointer<dirent>? {
    if offset == end {
      (offset, end) = (0, max(0, nc_read_directory(descriptor, buffer, UInt32(Self.bufferBytes))))
      if end == 0 { return nil }
    }
    let entry = (buffer + offset).assumingMemoryBound(to: dirent.self)
    offset += Int(entry.pointee.d_reclen)
    return entry
  }
}
