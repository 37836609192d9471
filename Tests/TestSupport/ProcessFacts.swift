public import Glibc

/// What /proc tells of a process (proc(5)).
public enum ProcessFacts {
  /// Open descriptors.
  public static func descriptorCount(_ pid: pid_t) -> Int { listFolder("/proc/\(pid)/fd").count }

  /// Resident memory in bytes, without pages shared with files: RssAnon of /proc/PID/status.
  public static func residentBytes(_ pid: pid_t) throws -> Int {
    let status = try readFile("/proc/\(pid)/status")
    for line in status.split(separator: "\n") where line.hasPrefix("RssAnon:") {
      let fields = line.split(whereSeparator: { $0 == " " || $0 == "\t" })
      if fields.count > 1, let kibibytes = Int(fields[1]) { return kibibytes * 1024 }
    }
    throw SupportError("/proc/\(pid)/status has no RssAnon")
  }

  /// User and system time used so far by all its threads, in seconds: fields 14 and 15 of /proc/PID/stat, whose unit is
  /// the clock tick (10 ms on the usual kernels).
  public static func cpuSeconds(_ pid: pid_t) throws -> Double {
    let fields = try statFields(pid)
    guard fields.count > 12, let user = Double(fields[11]), let system = Double(fields[12]) else {
      throw SupportError("/proc/\(pid)/stat has too few fields")
    }
    return (user + system) / Double(sysconf(Int32(_SC_CLK_TCK)))
  }

  /// The state letter: R running, S sleeping, D waiting for a device, Z ended and not reaped.
  public static func state(_ pid: pid_t) throws -> String { String(try statFields(pid).first ?? "?") }

  /// The fields after the parenthesised command, which may itself hold blanks: state is the first.
  private static func statFields(_ pid: pid_t) throws -> [Substring] {
    let text = try readFile("/proc/\(pid)/stat")
    guard let end = text.lastIndex(of: ")") else { throw SupportError("/proc/\(pid)/stat is malformed") }
    return text[text.index(after: end)...].split(whereSeparator: { $0 == " " || $0 == "\n" })
  }
}
