internal import Glibc

/// A folder of a unique name under /tmp, removed with the last reference. The path is kept short: a unix socket's path
/// holds 107 bytes (unix(7)).
public final class TemporaryFolder {
  public let path: String

  public init(_ purpose: String) throws {
    path = "/tmp/nct-\(UniqueName.suffix())-\(purpose)"
    guard mkdir(path, 0o755) == 0 else { throw SupportError.systemCall("mkdir", path) }
    Cleanup.add(folder: path)
  }

  deinit {
    removeTree(path)
    Cleanup.remove(folder: path)
  }

  /// Writes a text file inside and returns its path.
  @discardableResult
  public func write(_ name: String, _ text: String) throws -> String {
    let file = path + "/" + name
    try writeFile(file, text)
    return file
  }
}

/// The names in a folder without `.` and `..`, sorted; empty when it cannot be read.
public func listFolder(_ path: String) -> [String] {
  guard let folder = opendir(path) else { return [] }
  defer { closedir(folder) }
  var names: [String] = []
  while let entry = readdir(folder) {
    let name = withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
      String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
    }
    if name != "." && name != ".." { names.append(name) }
  }
  return names.sorted()
}

private func removeTree(_ path: String) {
  var status = stat()
  if lstat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFDIR {
    for name in listFolder(path) { removeTree(path + "/" + name) }
    rmdir(path)
  } else {
    unlink(path)
  }
}

/// A file's bytes as text (also of /proc, where sizes read as 0).
public func readFile(_ path: String) throws -> String {
  let file = open(path, O_RDONLY | O_CLOEXEC)
  guard file >= 0 else { throw SupportError.systemCall("open", path) }
  defer { close(file) }
  var bytes: [UInt8] = []
  var chunk = [UInt8](repeating: 0, count: 65_536)
  while true {
    let count = read(file, &chunk, chunk.count)
    guard count >= 0 else { throw SupportError.systemCall("read", path) }
    if count == 0 { return String(decoding: bytes, as: UTF8.self) }
    bytes += chunk[..<count]
  }
}

/// Replaces a file's content.
public func writeFile(_ path: String, _ text: String) throws {
  let file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o644)
  guard file >= 0 else { throw SupportError.systemCall("open", path) }
  defer { close(file) }
  let bytes = Array(text.utf8)
  var done = 0
  while done < bytes.count {
    let count = bytes[done...].withUnsafeBytes { Glibc.write(file, $0.baseAddress, $0.count) }
    guard count > 0 else { throw SupportError.systemCall("write", path) }
    done += count
  }
}

/// Whether something of that name exists.
public func pathExists(_ path: String) -> Bool { access(path, F_OK) == 0 }
