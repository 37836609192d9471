import BenchKit
import TestSupport
import Testing

extension SystemTests {
  /// What a connection took comes back.
  @Suite struct Resources {
    /// Allocators keep some: the tolerance for 2,000 connections, under 2 KiB each. A leaked buffer of 4 KiB each would
    /// be 8 MB, a leaked PCB and socket each about 1 MB of which many batches would tell.
    static let toleranceBytes = 4 << 20
    static let connections = 2_000

    /// One batch warms up, the next must leave descriptors as they were, and memory within the tolerance.
    private func churn(_ daemon: DaemonProcess, _ batch: () throws -> ClientResult) throws {
      #expect(try batch().verified)
      try settle(daemon)
      let (descriptors, bytes) = (daemon.descriptorCount, try daemon.residentBytes())
      #expect(try batch().connections == Resources.connections)
      try waitUntil("\(descriptors) descriptors again (now \(daemon.descriptorCount))", seconds: 5) {
        daemon.descriptorCount <= descriptors
      }
      let grown = try daemon.residentBytes() - bytes
      #expect(grown < Resources.toleranceBytes, "grew by \(grown) bytes")
    }

    /// Waits until the descriptor count no longer falls.
    private func settle(_ daemon: DaemonProcess) throws {
      var last = daemon.descriptorCount
      var repeats = 0
      try waitUntil("a steady descriptor count", seconds: 10) {
        let now = daemon.descriptorCount
        repeats = now == last ? repeats + 1 : 0
        last = now
        return repeats > 20
      }
    }

    private func client(_ binaries: Binaries, _ server: BenchServer, _ closer: String) -> Command {
      BenchClient.command(
        binaries, "churn", server.endpoint, ["--count", String(Resources.connections), "--close-first", closer])
    }

    @Test("2,000 connections over a hub", arguments: ["client", "server"])
    func hub(closer: String) throws {
      let stage = try HubStage()
      let server = try BenchServer(stage.binaries, address: Address.left, stage.onLeft)
      try churn(stage.daemon) {
        try BenchClient.run(stage.onRight(client(stage.binaries, server, closer)), seconds: 60)
      }
    }

    @Test("2,000 connections made by the app over a tap", .needsTap, arguments: ["client", "server"])
    func tapClient(closer: String) throws {
      let stage = try TapStage()
      let server = try BenchServer(stage.binaries, address: Address.peer, stage.kernel)
      try churn(stage.daemon) {
        try BenchClient.run(stage.app(client(stage.binaries, server, closer)), seconds: 60)
      }
    }

    @Test("2,000 connections accepted by the app over a tap", .needsTap, arguments: ["client", "server"])
    func tapServer(closer: String) throws {
      let stage = try TapStage()
      let server = try BenchServer(stage.binaries, address: Address.app, stage.app)
      try churn(stage.daemon) {
        try BenchClient.run(stage.kernel(client(stage.binaries, server, closer)), seconds: 60)
      }
    }

    @Test("the daemon has one thread", .needsTap)
    func oneThread() throws {
      let stage = try TapStage()
      let server = try BenchServer(stage.binaries, address: Address.peer, stage.kernel)
      let bulk = BenchClient.command(stage.binaries, "duplex", server.endpoint, ["--bytes", "10000000"])
      #expect(try BenchClient.run(stage.app(bulk), seconds: 60).verified)
      // io_uring's workers are listed, too, but run none of the daemon's code.
      let tasks = "/proc/\(stage.daemon.pid)/task"
      let names = try run(Command("/bin/sh", ["-c", "cat \(tasks)/*/comm"]), seconds: 10).checked().standardOutput
      #expect(names.split(separator: "\n").filter { !$0.hasPrefix("iou-") } == ["netcond"])
    }

    @Test("an app killed with open connections leaves nothing behind")
    func killedApp() throws {
      let stage = try HubStage()
      let server = try SocketAgent(stage.onLeft)
      try server.must("socket l")
      try server.must("bind l \(Address.left) 7000")
      try server.must("listen l 64")
      let before = stage.daemon.descriptorCount
      let client = try SocketAgent(stage.onRight)
      for index in 0..<20 {
        try client.must("socket c\(index)")
        try client.must("connect c\(index) \(Address.left) 7000")
        try server.must("accept l s\(index)")
      }
      #expect(stage.daemon.descriptorCount > before)
      client.process.kill()
      for index in 0..<20 {
        let answer = try server.ask("recvall s\(index)")
        #expect(answer.hasPrefix("ok 0 ") || answer == "error ECONNRESET")
        try server.must("close s\(index)")
      }
      try waitUntil("\(before) descriptors again", seconds: 5) { stage.daemon.descriptorCount <= before }
    }
  }
}
