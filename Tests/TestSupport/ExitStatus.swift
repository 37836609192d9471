internal import Glibc

/// How a process ended (waitpid(2)).
public enum ExitStatus: Equatable, Sendable, CustomStringConvertible {
  case exited(Int32)
  case signaled(Int32)

  init(waitStatus: Int32) {
    let signal = waitStatus & 0x7f
    self = signal == 0 ? .exited((waitStatus >> 8) & 0xff) : .signaled(signal)
  }

  public var isSuccess: Bool { self == .exited(0) }

  public var description: String {
    switch self {
    case .exited(let code): "exit code \(code)"
    case .signaled(let signal): "signal \(signal) (\(String(cString: strsignal(signal))))"
    }
  }
}

/// What a finished program left: its status and all it wrote.
public struct Completed: Sendable, CustomStringConvertible {
  public let command: String
  public let status: ExitStatus
  public let standardOutput: String
  public let standardError: String

  public var description: String {
    "\(command): \(status)\n--- stdout\n\(standardOutput)\n--- stderr\n\(standardError)"
  }

  /// The same, if the program succeeded.
  /// - Throws: `SupportError` with all it wrote.
  @discardableResult
  public func checked() throws -> Completed {
    guard status.isSuccess else { throw SupportError(description) }
    return self
  }
}
