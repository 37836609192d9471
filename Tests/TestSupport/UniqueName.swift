public import Glibc
internal import Synchronization

/// Names that no other test, and no other run on this machine at the same time, uses: process id and a counter.
public enum UniqueName {
  private static let counter = Atomic<Int>(0)

  /// A short suffix such as `2s1x7`, letters and digits only.
  public static func suffix() -> String {
    let number = counter.wrappingAdd(1, ordering: .relaxed).newValue
    return mark(of: getpid()) + String(number, radix: 36)
  }

  /// What all suffixes of a process begin with.
  public static func mark(of process: pid_t) -> String { String(process, radix: 36) + "x" }

  /// A network interface's name: at most 15 bytes (IFNAMSIZ - 1, netdevice(7)).
  public static func interface(_ prefix: String) -> String {
    let name = prefix + suffix()
    precondition(name.utf8.count <= 15, "interface name too long: \(name)")
    return name
  }

  /// A network id: 16 hexadecimal digits.
  public static func networkID() -> String {
    let number = UInt64(counter.wrappingAdd(1, ordering: .relaxed).newValue)
    let value = UInt64(UInt32(bitPattern: getpid())) << 32 | number
    let digits = String(value, radix: 16)
    return String(repeating: "0", count: 16 - digits.count) + digits
  }
}
