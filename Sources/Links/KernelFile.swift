internal import Glibc

/// A small text file of the kernel's (sysfs(5)), closed with its owner.
final class KernelFile {
  private let fd: Int32

  /// nil where it cannot be opened.
  init?(_ path: String, flags: Int32 = O_RDONLY) {
    fd = open(path, flags | O_CLOEXEC)
    guard fd >= 0 else { return nil }
  }

  deinit { if fd >= 0 { close(fd) } }

  /// All of it; nil where nothing can be read.
  func readText() -> String? {
    var bytes = [UInt8](repeating: 0, count: 4096)
    let count = pread(fd, &bytes, bytes.count, 0)
    return count > 0 ? String(decoding: bytes[..<count], as: UTF8.self) : nil
  }

  /// False where the kernel refuses the text.
  func write(_ text: String) -> Bool { pwrite(fd, text, text.utf8.count, 0) == text.utf8.count }
}
