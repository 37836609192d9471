public import Glibc

/// What went wrong while a test or a benchmark set its stage, with the cause and, where there is one, the cure.
public struct SupportError: Error, CustomStringConvertible, Sendable {
  public let description: String

  public init(_ description: String) { self.description = description }

  /// A failed system call: names the call, what it was for, and errno's text.
  public static func systemCall(_ call: String, _ purpose: String, errno code: Int32 = errno) -> SupportError {
    SupportError("\(call) failed for \(purpose): \(String(cString: strerror(code))) (errno \(code))")
  }
}
