import BenchKit
import TestSupport
import Testing

/// Transfers between `netcond-bench serve` and `netcond-bench client`: each byte is compared with the pattern at its
/// receiver, counts and digests of both ends must agree, and the server's log must say the same.
private struct Exchange {
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
      served = try server.served(servedBefore + count, seconds: 20)
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
  fileprivate var exchange: Exchange {
    Exchange(binaries: binaries, serverAddress: Address.left, serverSide: onLeft, clientSide: onRight)
  }
}

extension TapStage {
  /// The app is the client, the kernel serves.
  fileprivate var appAsClient: Exchange {
    Exchange(binaries: binaries, serverAddress: Address.peer, serverSide: kernel, clientSide: app)
  }

  /// The app serves, the kernel is the client.
  fileprivate var appAsServer: Exchange {
    Exchange(binaries: binaries, serverAddress: Address.app, serverSide: app, clientSide: kernel)
  }
}

extension SystemTests {
  @Suite struct ByteExactness {
    static let sizes = [0, 1, 1460, 65_535, 65_536, 65_537, 10_000_000]

    @Test("over a hub, all directions and ways to close", arguments: sizes)
    func hub(bytes: Int) throws { try HubStage().exchange.checkAll(bytes: bytes) }

    @Test("over a tap, the app as client", .needsTap, arguments: sizes)
    func tapClient(bytes: Int) throws { try TapStage().appAsClient.checkAll(bytes: bytes) }

    @Test("over a tap, the app as server", .needsTap, arguments: sizes)
    func tapServer(bytes: Int) throws { try TapStage().appAsServer.checkAll(bytes: bytes) }

    @Test("IPv6 over a tap, 10 MB", .needsTap)
    func tapIPv6() throws {
      let stage = try TapStage(ipv6: true)
      try Exchange(
        binaries: stage.binaries, serverAddress: Address.peer6, serverSide: stage.kernel, clientSide: stage.app
      ).checkAll(bytes: 10_000_000)
      try Exchange(
        binaries: stage.binaries, serverAddress: Address.app6, serverSide: stage.app, clientSide: stage.kernel
      ).checkAll(bytes: 10_000_000)
    }

    @Test("1 GiB over a tap", .needsTap, arguments: ["bulk-send", "bulk-receive"])
    func gibibyteOverTap(direction: String) throws {
      try TapStage().appAsClient.check([direction], bytes: 1 << 30)
    }

    @Test("1 GiB over a hub")
    func gibibyteOverHub() throws { try HubStage().exchange.check(["bulk-send"], bytes: 1 << 30) }

    @Test("100 times 10 MB over a hub", arguments: ["bulk-send", "bulk-receive"])
    func hundredOverHub(direction: String) throws {
      try HubStage().exchange.check([direction, "--close-first", "server"], bytes: 10_000_000, count: 100)
    }

    @Test("100 times 10 MB over a tap", .needsTap, arguments: ["bulk-send", "bulk-receive"])
    func hundredOverTap(direction: String) throws {
      let stage = try TapStage()
      try stage.appAsClient.check([direction, "--close-first", "server"], bytes: 10_000_000, count: 100)
      try stage.appAsServer.check([direction, "--close-first", "client"], bytes: 10_000_000, count: 100)
    }

    @Test("with Linux 6.1's io_uring, both ways", .needsTap)
    func baselineRing() throws {
      let stage = try TapStage(environment: ["NETCOND_URING_BASELINE": "1"])
      try stage.appAsClient.checkAll(bytes: 10_000_000)
      try stage.appAsServer.checkAll(bytes: 10_000_000)
      let hub = try HubStage(environment: ["NETCOND_URING_BASELINE": "1"])
      try hub.exchange.checkAll(bytes: 10_000_000)
    }
  }
}
