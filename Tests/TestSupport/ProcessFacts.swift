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
  /// the clock tick (10 ms on the usual kernels). For a process with one thread, the first field of /proc/PID/schedstat
  /// where the kernel has it: nanoseconds.
  public static func cpuSeconds(_ pid: pid_t) throws -> Double {
    if listFolder("/proc/\(pid)/task").count == 1, let text = try? readFile("/proc/\(pid)/schedstat"),
      let nanoseconds = text.split(separator: " ").first.flatMap({ Double($0) }), nanoseconds > 0
    {
      return nanoseconds * 1e-9
    }
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

/// CPUs: which this process may use, and where others run.
public enum Processors {
  /// The numbers this process may run on, ascending: Cpus_allowed_list of /proc/self/status, as `0-1,4`.
  public static func allowed() throws -> [Int] {
    let status = try readFile("/proc/self/status")
    guard let line = status.split(separator: "\n").first(where: { $0.hasPrefix("Cpus_allowed_list:") }) else {
      throw SupportError("/proc/self/status has no Cpus_allowed_list")
    }
    let list = line.drop { $0 != "\t" && $0 != " " }.drop { $0 == "\t" || $0 == " " }
    return list.split(separator: ",").flatMap { range -> [Int] in
      let ends = range.split(separator: "-").compactMap { Int($0) }
      guard let first = ends.first, let last = ends.last else { return [] }
      return Array(first...last)
    }
  }

  /// Moves a running process, with all its threads, to one CPU (taskset(1)).
  public static func pin(_ pid: pid_t, to cpu: Int) throws {
    try run(Command("taskset", ["-a", "-c", "-p", String(cpu), String(pid)]), seconds: 10).checked()
  }
}

extension Processors {
  /// Time that all CPUs spent on anything since the boot, in seconds: the first line of /proc/stat without idle, iowait
  /// and steal (proc(5)).
  public static func busySeconds() throws -> Double {
    let fields = try readFile("/proc/stat").prefix { $0 != "\n" }.split(separator: " ").dropFirst().map {
      Double($0) ?? 0
    }
    guard fields.count >= 7 else { throw SupportError("/proc/stat has too few fields") }
    return (fields[0] + fields[1] + fields[2] + fields[5] + fields[6]) / Double(sysconf(Int32(_SC_CLK_TCK)))
  }
}

extension ProcessFacts {
  /// The processes that `pid` started and that run (proc(5), /proc/PID/task/TID/children).
  public static func children(_ pid: pid_t) throws -> [pid_t] {
    try readFile("/proc/\(pid)/task/\(pid)/children").split(separator: " ").compactMap { pid_t($0) }
  }
}
