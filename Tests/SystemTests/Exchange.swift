import BenchKit
import TestSupport
import Testing

/// Transfers between `netcond-bench serve` and `netcond-bench client`: each byte is compared with the pattern at its
/// receiver, counts and digests of both ends must agree, and the server's log must say the same.
struct Exchange {
  let binaries: Binaries
  let serverAddress: String
  let serverSide: (Command) -> Command
  let clientSide: (Command) -> Command

  /// Both directions, each way to end a connection, and both at once.
  static let manners: [[String]] = [
    ["bulk-send", "--close-first", "client"],
    ["bulk-send", "--close-first", "server"],
    ["bulk-send", "--finish", "half-close", "--close-first", "client"],
    ["bulk-send", "--finish", "half-close", "--close-first", "server"],
    ["bulk-send", "--finish", "close"],
    ["bulk-receive", "--close-first", "client"],
    ["bulk-receive", "--close-first", "server"],
    ["duplex", "--close-first", "client"],
    ["duplex", "--close-first", "server"],
  ]

  /// Runs one manner `count` times.
  func check(_ manner: [String], bytes: Int, count: Int = 1, seconds: Double = 60) throws {
    let server = try BenchServer(binaries, address: serverAddress, logs: true, serverSide)
    try check(manner, bytes: bytes, count: count, seconds: seconds, server: server, servedBefore: 0)
  }

  /// Runs all manners against one server.
  func checkAll(bytes: Int) throws {
    let server = try BenchServer(binaries, address: serverAddress, logs: true, serverSide)
    for (index, manner) in Exchange.manners.enumerated() {
      try check(manner, bytes: bytes, count: 1, seconds: 30, server: server, servedBefore: index)
    }
  }

  private func check(
    _ manner: [String], bytes: Int, count: Int, seconds: Double, server: BenchServer, servedBefore: Int
  ) throws {
    let what = "\(manner.joined(separator: " ")), \(bytes) bytes"
    let options = ["--bytes", String(bytes), "--count", String(count), "--digest"] + manner.dropFirst()
    let command = BenchClient.command(binaries, manner[0], server.endpoint, options)
    let result: ClientResult
    let served: [ServedTransfer]
    do {
      result = try BenchClient.run(clientSide(command), seconds: seconds)
      served = try server.served(servedBefore + count, seconds: max(20, seconds))
    } catch {
      Issue.record("\(what): \(error)")
      return
    }
    #expect(result.verified, "\(what): \(result.problem ?? "")")
    #expect(result.connections == count)
    for transfer in served.dropFirst(servedBefore) {
      #expect(transfer.isIntact, "\(what), at the server: \(transfer.error ?? "wrong bytes")")
      #expect(transfer.bytes == UInt64(bytes), "\(what), at the server")
      #expect(transfer.digest == result.sentDigest, "\(what): digests of what was sent and what came")
    }
  }
}

extension HubStage {
  var exchange: Exchange {
    Exchange(binaries: binaries, serverAddress: Address.left, serverSide: onLeft, clientSide: onRight)
  }
}

extension TapStage {
  /// The app is the client, the kernel serves.
  var appAsClient: Exchange {
    Exchange(binaries: binaries, serverAddress: Address.peer, serverSide: kernel, clientSide: app)
  }

  /// The app serves, the kernel is the client.
  var appAsServer: Exchange {
    Exchange(binaries: binaries, serverAddress: Address.app, serverSide: app, clientSide: kernel)
  }
}
