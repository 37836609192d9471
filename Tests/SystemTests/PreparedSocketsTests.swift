import Glibc
import NetcondRPC
import TestSupport
import Testing

extension SystemTests {
  /// Sockets made ahead, whose apps' ends a program fetches from the daemon's process (docs/rpc.md).
  @Suite struct PreparedSockets {
    /// More than a second's habit: from here on they are made ahead.
    private static let habit = 12

    /// A program on the right that has them, and one on the left that listens at port 7000 as `l`.
    private func programs(_ stage: HubStage) throws -> (app: SocketAgent, server: SocketAgent) {
      let (app, server) = (try SocketAgent(stage.onRight), try SocketAgent(stage.onLeft))
      try server.listen(at: Address.left)
      for _ in 0..<Self.habit { try makeAndClose(app) }
      return (app, server)
    }

    private func makeAndClose(_ app: SocketAgent) throws {
      try app.must("socket x")
      try app.must("close x")
    }

    private func use(_ name: String, _ app: SocketAgent, _ server: SocketAgent) throws {
      try app.must("connect \(name) \(Address.left) 7000")
      try server.must("accept l s")
      let sum = try app.must("send \(name) 3 10000")
      #expect(try server.must("recv s 10000") == "10000 \(sum)")
      try app.must("close \(name)")
      #expect(try server.must("recv s 1").hasPrefix("0 "), "the end of the stream")
      try server.must("close s")
    }

    @Test("those that are taken and closed again without a connect are let go")
    func closed() throws {
      let stage = try HubStage()
      let before = stage.daemon.descriptorCount
      let (app, server) = try programs(stage)
      for _ in 0..<600 { try makeAndClose(app) }
      // What the last two batches hold the daemon cannot know to be taken.
      try waitUntil("descriptors given back", seconds: 5) { stage.daemon.descriptorCount < before + 2 * 3 * 64 }
      try app.must("socket y")
      try use("y", app, server)
      app.process.kill()
      try waitUntil("\(before) descriptors again", seconds: 5) { stage.daemon.descriptorCount <= before + 3 }
    }

    @Test("those that connect long after they were taken work as all do")
    func late() throws {
      let stage = try HubStage()
      let (app, server) = try programs(stage)
      let count = 150
      for index in 0..<count { try app.must("socket k\(index)") }
      let full = stage.daemon.descriptorCount
      try waitUntil("apps' ends given back", seconds: 5) { stage.daemon.descriptorCount < full }
      for index in 0..<count { try use("k\(index)", app, server) }
    }

    @Test("named by a client: its own, and nobody else's")
    func named() throws {
      let stage = try HubStage()
      let server = try SocketAgent(stage.onLeft)
      try server.listen(at: Address.left)
      let path = stage.home.socketPath(stage.left)
      let before = stage.daemon.descriptorCount
      do {
        let client = try RPCClient(path)
        let told = try openDispenser(client)
        defer { close(told) }
        let first = try #require(receive(told)), second = try #require(receive(told))
        #expect(first.flags == UInt16(NC_PREPARED_LOW) && second.flags == 0)
        #expect(first.descriptor >= 0 && second.descriptor >= 0 && first.cookie != second.cookie)

        let hostile: [(what: String, request: [UInt8], hasDescriptor: Bool)] = [
          ("another client", connect(first.cookie), false),
          ("with a descriptor", connect(first.cookie), true),
          ("not posted", connect(first.cookie) { $0.flags = 0 }, false),
          ("another operation", connect(first.cookie) { $0.op = UInt16(NC_OP_NAMES.rawValue) }, false),
        ]
        for (what, request, hasDescriptor) in hostile {
          let other = try RPCClient(path)
          #expect(try other.call(NC_OP_FACTS.rawValue) == 0)
          #expect(other.send(request, passing: hasDescriptor ? [told] : []) == 0)
          #expect(other.receive(seconds: 5) == .closed, "\(what)")
        }
        #expect(client.send(connect(.max)) == 0, "one that is over")
        #expect(try client.call(NC_OP_FACTS.rawValue) == 0)
        #expect(client.send(connect(second.cookie)) == 0)
        try server.must("accept l s")  // nobody has the other end: the client has not fetched it
        #expect(try server.must("recv s 1").hasPrefix("0 "))
        try server.must("close s")
        #expect(client.send(connect(second.cookie)) == 0, "over")
        #expect(try client.call(NC_OP_FACTS.rawValue) == 0)
      }
      try waitUntil("\(before) descriptors again", seconds: 5) { stage.daemon.descriptorCount <= before }
    }

    private func openDispenser(_ client: RPCClient) throws -> Int32 {
      var end: Int32 = -1
      let status = try client.call(NC_OP_DISPENSER.rawValue) {
        $0.argument.0 = AF_INET
        $0.argument.1 = Int32(NC_DISPENSER_FETCHES)
      } onDescriptor: {
        end = $0
      }
      guard status == 0, end >= 0 else { throw SupportError("NC_OP_DISPENSER: status \(status)") }
      return end
    }

    private func receive(_ dispenser: Int32) -> nc_prepared? {
      var message = nc_prepared()
      let count = recv(dispenser, &message, MemoryLayout<nc_prepared>.size, Int32(MSG_DONTWAIT))
      return count == MemoryLayout<nc_prepared>.size ? message : nil
    }

    /// A connect to the listener that names its socket.
    private func connect(_ cookie: UInt64, _ change: (inout nc_request) -> Void = { _ in }) -> [UInt8] {
      RPCClient.request(NC_OP_CONNECT.rawValue) {
        $0.flags = UInt32(NC_REQUEST_POSTED)
        $0.cookie = cookie
        $0.address.family = UInt16(AF_INET)
        $0.address.port = UInt16(7000).bigEndian
        $0.address.bytes = (10, 77, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
        change(&$0)
      }
    }
  }
}
