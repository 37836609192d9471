public import ArgumentParser
internal import Glibc

extension Closer: ExpressibleByArgument {
  public init?(argument: String) {
    switch argument {
    case "client": self = .client
    case "server": self = .server
    default: return nil
    }
  }
}

extension ClientPlan.Finish: ExpressibleByArgument {}

/// `netcond-bench client SCENARIO`: prints one line of JSON; exit code 1 when a byte was wrong or a call failed.
struct ClientCommand: ParsableCommand {
  enum Kind: String, ExpressibleByArgument, CaseIterable {
    case bulkSend = "bulk-send"
    case bulkReceive = "bulk-receive"
    case duplex
    case churn
    case echo
    case datagrams
    case idle
  }

  static let configuration = CommandConfiguration(
    commandName: "client", abstract: "Runs one scenario against a server and prints a line of JSON.")

  @Argument(help: "bulk-send, bulk-receive, duplex, churn, echo, datagrams or idle.")
  var kind: Kind

  @Option(help: "The server's IPv4 or IPv6 address.")
  var address: String

  @Option(help: "The server's port.")
  var port: UInt16

  @Option(help: "Bytes of one transfer.")
  var bytes: UInt64 = 1_000_000_000

  @Option(help: "Lasts this long instead of counting bytes or connections.")
  var seconds: Double?

  @Option(help: "Transfers one after another; connections of churn and idle; requests of echo; datagrams.")
  var count = 1

  @Option(help: "Connections at once.")
  var concurrency = 1

  @Option(help: "Bytes of one read, write, request or datagram.")
  var chunk = 131_072

  @Flag(help: "Churn with non-blocking connects from one thread.")
  var nonBlocking = false

  @Flag(help: "Churn closes with RST.")
  var reset = false

  @Option(help: "Addresses of this side that idle connections use in turn.")
  var source: [String] = []

  @Option(help: "Descriptor that gets 'ready COUNT' once all idle connections are there.")
  var readyFd: Int32?

  @Option(help: "Chooses the content.")
  var seed: UInt64 = 1

  @Option(help: "Who closes first: client or server.")
  var closeFirst: Closer = .client

  @Option(help: "How a sender ends: report, half-close or close.")
  var finish: ClientPlan.Finish = .report

  @Flag(help: "Also compare digests of what was sent and received.")
  var digest = false

  func validate() throws {
    guard chunk > 0, chunk <= 1 << 22 else { throw ValidationError("--chunk is 1 to \(1 << 22)") }
    guard count >= 0, concurrency > 0 else { throw ValidationError("--count and --concurrency are positive") }
  }

  func run() throws {
    signal(SIGPIPE, SIG_IGN)
    var plan = ClientPlan(endpoint: try Endpoint(address: address, port: port))
    plan.bytes = bytes
    plan.seconds = seconds
    plan.count = count
    plan.concurrency = concurrency
    plan.chunkBytes = chunk
    plan.seed = seed
    plan.closer = closeFirst
    plan.finish = finish
    plan.wantsDigest = digest
    plan.isNonBlocking = nonBlocking
    plan.closesByReset = reset
    plan.sources = try source.map { try Endpoint(address: $0, port: 0) }
    let result =
      switch kind {
      case .bulkSend: try Client.bulkSend(plan)
      case .bulkReceive: try Client.bulkReceive(plan)
      case .duplex: try Client.duplex(plan)
      case .churn: try Client.churn(plan)
      case .echo: try Client.echo(plan)
      case .datagrams: try Client.datagrams(plan)
      case .idle: try Client.idle(plan) { count in try ReadyLine.write("ready \(count)", to: readyFd) }
      }
    Log.print(result)
    if !result.verified { throw ExitCode(1) }
  }
}
