internal import Glibc

/// A child that tells on a descriptor when it serves (`--ready-fd`, here always number 9), and what it told.
public struct ReadyProcess {
  /// The number that the child finds its ready descriptor under.
  public static let descriptor: Int32 = 9

  public let process: ChildProcess
  /// The text it wrote before it closed the descriptor, as `ready`; without the newline.
  public let word: String

  /// Starts `command`, which has `--ready-fd 9` among its arguments, and returns once it is ready.
  /// - Throws: `SupportError` with its stderr when it ended instead, or was not ready within `seconds`.
  public init(_ command: Command, seconds: Double) throws {
    let readiness = try Pipe()
    defer { close(readiness.read) }
    let child: ChildProcess
    do {
      defer { close(readiness.write) }
      child = try ChildProcess(command, passing: [ReadyProcess.descriptor: readiness.write])
    }
    let text = ReadyProcess.text(from: readiness.read, seconds: seconds)
    guard text.hasPrefix("ready"), text.hasSuffix("\n") else {
      try? waitUntil("end", seconds: 2) { child.poll() != nil }
      let state = child.status.map { "ended with \($0)" } ?? "still runs"
      child.kill()
      throw SupportError(
        "\(command.executable) not ready within \(seconds) s (said '\(text)', \(state)):\n\(child.standardError)")
    }
    process = child
    word = String(text.dropLast())
  }

  /// Reads until end of file or the bound.
  private static func text(from descriptor: Int32, seconds: Double) -> String {
    var patience = Patience(seconds: seconds)
    var bytes: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 64)
    while true {
      var waiting = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
      let ready = poll(&waiting, 1, Int32(min(1, patience.left) * 1000) + 1)
      patience.step()
      if ready == 0 && patience.left > 0 { continue }
      guard ready > 0 else { break }
      let count = read(descriptor, &chunk, chunk.count)
      guard count > 0 else { break }
      bytes += chunk[..<count]
    }
    return String(decoding: bytes, as: UTF8.self)
  }
}
