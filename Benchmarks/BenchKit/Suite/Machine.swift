internal import FoundationEssentials
internal import Glibc
internal import TestSupport

/// The machine that figures come from: without it they mean nothing.
struct Machine: Codable, Sendable {
  let processor: String
  let processorCount: Int
  let memoryBytes: Int
  let kernel: String
  let architecture: String
  /// ISO 8601, UTC.
  let date: String

  static func current() -> Machine {
    var names = utsname()
    uname(&names)
    let information = (try? readFile("/proc/cpuinfo")) ?? ""
    let model = information.split(separator: "\n").first { $0.hasPrefix("model name") || $0.hasPrefix("CPU part") }
    return Machine(
      processor: model.flatMap { $0.split(separator: ":").last }.map { $0.trimmingPrefix(" ") }.map(String.init)
        ?? "unknown",
      processorCount: sysconf(Int32(_SC_NPROCESSORS_ONLN)),
      memoryBytes: sysconf(Int32(_SC_PHYS_PAGES)) * sysconf(Int32(_SC_PAGESIZE)),
      kernel: text(&names.release), architecture: text(&names.machine), date: Date.now.ISO8601Format())
  }

  private static func text<Field>(_ field: inout Field) -> String {
    withUnsafeBytes(of: &field) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
  }
}
