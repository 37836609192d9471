internal import FoundationEssentials

/// This process's environment variables.
public enum Environment {
  public static var all: [String: String] { ProcessInfo.processInfo.environment }

  public static subscript(name: String) -> String? { all[name] }
}
