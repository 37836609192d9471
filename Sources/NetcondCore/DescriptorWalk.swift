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
  private var current: (process: Int32, stream: OpaquePointer)?

  /// - Parameters:
  ///   - processes: those that are gone, or may not be looked at, have no descriptors.
  ///   - wanted: the inodes to be noted; nil: all.
  init(_ processes: [Int32], wanted: Set<UInt>? = nil) {
    self.processes = processes.reversed()
    self.wanted = wanted
  }

  deinit { if let current { closedir(current.stream) } }

  /// Every process that can be seen, but this one.
  static func allProcesses() -> [Int32] {
    guard let stream = opendir("/proc") else { return [] }
    defer { closedir(stream) }
    var processes: [Int32] = []
    while let entry = readdir(stream) {
      if let process = number(entry), process != getpid() { processes.append(process) }
    }
    return processes
  }

  /// Walks on.
  /// - Parameter count: descriptors to look at, at most, a process counting as one more; on return what is left of that.
  /// - Returns: whether the walk is over.
  func advance(_ count: inout Int) -> Bool {
    while count > 0 {
      count -= 1
      guard let (process, stream) = current else {
        guard let next = processes.popLast() else { return true }
        current = opendir("/proc/\(next)/fd").map { (next, $0) }
        continue
      }
      guard let entry = readdir(stream) else {
        closedir(stream)
        current = nil
        continue
      }
      guard let number = Self.number(entry), let inode = Self.socket(entry, in: stream) else { continue }
      if wanted?.contains(inode) != false { sockets[inode] = Spot(process: process, number: number) }
    }
    return false
  }

  private static func name(_ entry: UnsafeMutablePointer<dirent>) -> UnsafePointer<CChar> {
    UnsafeRawPointer(entry).advanced(by: MemoryLayout<dirent>.offset(of: \.d_name)!).assumingMemoryBound(to: CChar.self)
  }

  private static func number(_ entry: UnsafeMutablePointer<dirent>) -> Int32? { Int32(String(cString: name(entry))) }

  /// The inode of the socket that a descriptor is; nil where it is something else.
  private static func socket(_ entry: UnsafeMutablePointer<dirent>, in stream: OpaquePointer) -> UInt? {
    withUnsafeTemporaryAllocation(byteCount: 32, alignment: 1) { buffer in
      let target = buffer.baseAddress!.assumingMemoryBound(to: CChar.self)
      let count = readlinkat(dirfd(stream), name(entry), target, buffer.count - 1)
      let prefix = "socket:["
      guard count > prefix.utf8.count, strncmp(target, prefix, prefix.utf8.count) == 0 else { return nil }
      target[count] = 0
      return strtoul(target + prefix.utf8.count, nil, 10)
    }
  }
}
