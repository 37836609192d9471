/// A small Python program that makes socket calls on request (Tests/SystemTests/Programs/agent.py): tests read as
/// scripts of what an app does. It runs natively or intercepted; the answers must be the same.
public final class SocketAgent {
  public let process: ChildProcess

  public init(_ wrap: (Command) -> Command = { $0 }) throws {
    guard let python = Requirements.python else { throw SupportError("python3 is missing: apt-get install python3") }
    let script = Binaries.packageRoot + "/Tests/SystemTests/Programs/agent.py"
    process = try ChildProcess(wrap(Command(python, ["-u", script])), isInteractive: true)
    guard try process.readLine(seconds: 20) == "hello" else { throw SupportError("agent.py did not start") }
  }

  /// Sends a request and returns the answer: `ok` with values, or `error` with errno's name.
  /// - Throws: `SupportError` when no answer came within `seconds`.
  @discardableResult
  public func ask(_ request: String, seconds: Double = 15) throws -> String {
    try process.writeLine(request)
    return try process.readLine(seconds: seconds)
  }

  /// Sends a request whose answer is fetched later by `answer`; returns once the agent sleeps in it.
  public func begin(_ request: String) throws {
    try process.writeLine("announce")
    guard try process.readLine(seconds: 10) == "ok" else { throw SupportError("agent.py out of step") }
    try process.writeLine(request)
    guard try process.readLine(seconds: 10) == "begun" else { throw SupportError("agent.py out of step") }
    try waitUntil("agent sleeping in '\(request)'", seconds: 10) { try ProcessFacts.state(process.pid) == "S" }
  }

  /// The answer to what `begin` sent.
  public func answer(seconds: Double) throws -> String { try process.readLine(seconds: seconds) }

  /// `ask`, where anything but `ok` is an error of the test's own set-up. Returns the values after `ok`.
  @discardableResult
  public func must(_ request: String, seconds: Double = 15) throws -> String {
    let answer = try ask(request, seconds: seconds)
    guard answer == "ok" || answer.hasPrefix("ok ") else { throw SupportError("\(request): \(answer)") }
    return String(answer.dropFirst(3))
  }

  /// Listens at `address`, port 7000, as `l`.
  public func listen(at address: String) throws {
    try must("socket l")
    try must("bind l \(address) 7000")
    try must("listen l")
  }

  /// Makes a connection: this agent listens (`listen`) and accepts as `s`; `client` connects as `c`.
  public func accept(_ client: SocketAgent, at address: String) throws {
    try listen(at: address)
    try client.must("socket c")
    try client.must("connect c \(address) 7000")
    try must("accept l s")
  }
}
