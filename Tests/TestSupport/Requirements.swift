internal import Glibc

/// What a test may need of the machine. A missing one is a named skip, never a silent pass.
public enum Requirements {
  /// Namespaces and TAP devices need root (CAP_NET_ADMIN, CAP_SYS_ADMIN).
  public static let isRoot = geteuid() == 0

  /// Root, /dev/net/tun that opens, and ip(8).
  public static let hasTap: Bool = {
    guard isRoot, hasProgram("ip") else { return false }
    let device = open("/dev/net/tun", O_RDWR | O_CLOEXEC)
    if device >= 0 { close(device) }
    return device >= 0
  }()

  /// Whether a program of that name is in PATH.
  public static func hasProgram(_ name: String) -> Bool { pathOfProgram(name) != nil }

  /// Where PATH finds a program.
  public static func pathOfProgram(_ name: String) -> String? {
    let path = Environment["PATH"] ?? "/usr/bin:/bin"
    let folders: [Substring] = path.split(separator: ":") + ["/usr/sbin", "/sbin"]
    return folders.map { "\($0)/\(name)" }.first { access($0, X_OK) == 0 }
  }

  /// The Python interpreter itself: PATH may hold only a wrapper script, which would be intercepted too.
  public static let python: String? = {
    if access("/usr/bin/python3", X_OK) == 0 { return "/usr/bin/python3" }
    guard hasProgram("python3") else { return nil }
    let told = try? run(Command("python3", ["-c", "import sys; print(sys.executable)"]), seconds: 20)
    return told.map { String($0.standardOutput.prefix { $0 != "\n" }) }
  }()
}
