/// A small C program of Tests/SystemTests/Programs, compiled by gcc: programs that tests run with and without the library.
public struct CProgram {
  private let folder: TemporaryFolder
  /// The executable's path.
  public let path: String

  /// - Parameters:
  ///   - name: the file's name without `.c`.
  ///   - flags: for the compiler, such as `-fsanitize=address`.
  /// - Throws: `SupportError` with the compiler's words.
  public init(_ name: String, flags: [String] = []) throws {
    folder = try TemporaryFolder("c")
    path = folder.path + "/" + name
    let source = Binaries.packageRoot + "/Tests/SystemTests/Programs/\(name).c"
    let options = ["-std=gnu11", "-g", "-O1", "-pthread", "-Wall", "-Wextra", "-Werror"]
    try TestSupport.run(Command("gcc", options + flags + ["-o", path, source]), seconds: 60).checked()
  }

  public func command(_ arguments: [String]) -> Command { Command(path, arguments) }
}
