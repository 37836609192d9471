public import ArgumentParser
internal import FoundationEssentials
internal import Glibc

/// `netcond run -- PROGRAM ARGS…`: runs a program on a network.
public struct RunCommand: ParsableCommand {
  public static let configuration = CommandConfiguration(
    commandName: "netcond run",
    abstract: "Runs a program whose sockets are on a network of a running netcond.")

  @Option(help: "The daemon's home folder.")
  var home: String = Home.defaultPath

  @Option(help: "The network's 16 hexadecimal digits; may be left out where the home has one network.")
  var network: String?

  @Argument(parsing: .postTerminator, help: "The program and its arguments.")
  var command: [String] = []

  public init() {}

  public func validate() throws {
    guard !command.isEmpty else { throw ValidationError("give a program behind --") }
    if let network, NetworkID(network) == nil {
      throw ValidationError(NetworkID.complaint(network))
    }
  }

  public func run() throws {
    let home = Home(path: home)
    let id = try network.flatMap { NetworkID($0) } ?? onlyNetwork(of: home)
    let library = try findLibrary()
    setenv("ZT_NC_NETWORK", absolute(home.socketPath(id)), 1)
    let others = (getenv("LD_PRELOAD").map { String(cString: $0) } ?? "")
      .split(whereSeparator: { $0 == ":" || $0 == " " }).map(String.init).filter { $0 != library }
    setenv("LD_PRELOAD", ([library] + others).joined(separator: ":"), 1)
    var vector = command.map { strdup($0) } + [nil]
    execvp(command[0], &vector)
    let code = errno
    writeToStandardError("netcond run: \(command[0]): \(String(cString: strerror(code)))\n")
    throw ExitCode(code == ENOENT ? 127 : 126)  // as a shell does
  }

  private func absolute(_ path: String) -> String {
    path.hasPrefix("/") ? path : FileManager.default.currentDirectoryPath + "/" + path
  }

  private func onlyNetwork(of home: Home) throws -> NetworkID {
    let names = (try? FileManager.default.contentsOfDirectory(atPath: home.path)) ?? []
    let ids = names.filter { $0.hasPrefix("nc_") }.compactMap { NetworkID($0.dropFirst(3)) }
    guard ids.count == 1, let id = ids.first else {
      throw ValidationError(
        ids.isEmpty
          ? "no network is served in \(home.path): start netcond there first, or name another --home"
          : "\(home.path) serves \(ids.count) networks: choose one with --network")
    }
    return id
  }

  /// The folder of an absolute path.
  private func parent(of path: String) -> String {
    path.lastIndex(of: "/").map { String(path[..<$0]) } ?? path
  }

  /// Beside the program, as in a build folder, or in ../lib, as installed.
  private func findLibrary() throws -> String {
    let program = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
    let folder = parent(of: program)
    let candidates = [
      ProcessInfo.processInfo.environment["NETCOND_INTERCEPT_LIBRARY"] ?? "",
      "\(folder)/libzerotierintercept.so", "\(folder)/libnetcond-intercept.so",
      "\(parent(of: folder))/lib/libzerotierintercept.so",
    ]
    for candidate in candidates where FileManager.default.isReadableFile(atPath: candidate) { return candidate }
    throw ValidationError(
      "libzerotierintercept.so is neither in \(folder) nor in ../lib: run make install, or set NETCOND_INTERCEPT_LIBRARY"
    )
  }
}
