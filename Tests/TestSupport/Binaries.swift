/// The built programs that tests and the benchmark start: never linked in, always run (manifest.md: nothing may depend
/// on the target Intercept).
public struct Binaries: Sendable {
  /// The folder that holds them.
  public let folder: String
  public var daemon: String { folder + "/netcond" }
  public var bench: String { folder + "/netcond-bench" }
  /// The interposed library, under the name it is installed by or the one SwiftPM builds it under.
  public let library: String

  /// - Throws: `SupportError` naming what is missing and how to build it.
  public init(folder: String) throws {
    let libraries = ["libzerotierintercept.so", "libnetcond-intercept.so"].map { folder + "/" + $0 }
    guard let library = libraries.first(where: pathExists) else {
      throw SupportError(
        "no \(libraries.joined(separator: " or ")): build with `swift build -c release`, or set NETCOND_BIN_DIR")
    }
    self.folder = folder
    self.library = library
    for program in [daemon, bench] where !pathExists(program) {
      throw SupportError("no \(program): build with `swift build -c release`, or set NETCOND_BIN_DIR")
    }
  }

  /// The package's root folder, from where this file stood when it was compiled.
  public static let packageRoot = #filePath.split(separator: "/").dropLast(3).reduce("") { $0 + "/" + $1 }

  /// NETCOND_BIN_DIR, else `.build/release` of the package.
  public static func located() throws -> Binaries {
    try Binaries(folder: Environment["NETCOND_BIN_DIR"] ?? packageRoot + "/.build/release")
  }
}
