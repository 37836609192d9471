import Glibc
import NetcondRPC
import TestSupport
import Testing

extension SystemTests {
  /// A client that sends what no honest library would loses its own connection, and nothing else happens.
  @Suite struct HostileRPC {
    /// Runs `attack` against a hub's left network, then checks that the daemon serves, that an agent that was there
    /// before still works, and that no descriptor stayed.
    private func survive(_ attack: (HubStage, String) throws -> Void) throws {
      let stage = try HubStage()
      let witness = try SocketAgent(stage.onLeft)
      try witness.listen(at: Address.left)
      let before = stage.daemon.descriptorCount
      try attack(stage, stage.home.socketPath(stage.left))
      try waitUntil("\(before) descriptors again", seconds: 5) { stage.daemon.descriptorCount <= before }
      #expect(stage.daemon.process.isRunning, "\(stage.daemon.standardError)")
      let client = try SocketAgent(stage.onRight)
      try client.must("socket c")
      try client.must("connect c \(Address.left) 7000")
      try witness.must("accept l s")
      let sum = try client.must("send c 3 100000")
      #expect(try witness.must("recv s 100000") == "100000 \(sum)")
      #expect(try stage.daemon.stop() == .exited(0))
    }

    @Test("garbage, and messages too short and too long: the connection is closed")
    func malformed() throws {
      let sound = RPCClient.request(NC_OP_SOCKET.rawValue)
      let messages: [[UInt8]] = [
        [0], Array(repeating: 0xa5, count: sound.count), Array(repeating: 0, count: sound.count),
        Array(sound.dropLast()),
        sound + [0], Array(sound.prefix(4)), Array(repeating: 0xff, count: 4000),
        RPCClient.request(NC_OP_SOCKET.rawValue) { $0.magic ^= 1 },
        RPCClient.request(NC_OP_SOCKET.rawValue) { $0.flags = 1 << 31 },
      ]
      try survive { _, path in
        for message in messages {
          let client = try RPCClient(path)
          #expect(client.send(message) == 0)
          #expect(client.receive(seconds: 5) == .closed, "\(message.count) bytes")
        }
      }
    }

    @Test("another version is told EPROTO and the daemon's version, then closed")
    func version() throws {
      try survive { _, path in
        let client = try RPCClient(path)
        #expect(client.send(RPCClient.request(NC_OP_SOCKET.rawValue) { $0.version = 999 }) == 0)
        guard case .message(let bytes) = client.receive(seconds: 5), let reply = RPCClient.reply(bytes) else {
          Issue.record("no reply")
          return
        }
        #expect(reply.version == UInt16(NC_RPC_VERSION))
        #expect(reply.status == EPROTO)
        #expect(reply.sequence == 7)
        #expect(client.receive(seconds: 5) == .closed)
      }
    }

    @Test("unknown operations and wild arguments get an errno, not a socket")
    func wildArguments() throws {
      try survive { _, path in
        let client = try RPCClient(path)
        for (family, type) in [(Int32.min, Int32(1)), (AF_INET, Int32.max), (AF_UNIX, 1), (0, 0), (AF_INET, 3)] {
          let status = try client.call(NC_OP_SOCKET.rawValue) {
            $0.argument.0 = family
            $0.argument.1 = type
          }
          #expect(status > 0, "family \(family) type \(type)")
        }
        let socket = try client.openSocket()
        defer { close(socket) }
        for operation: UInt32 in [0, 11, 255, 65_535] where operation != 0 {
          #expect(try client.call(operation, passing: [socket]) > 0, "operation \(operation)")
        }
        // Linux takes lengths beyond what an option needs; the message then holds only the beginning.
        for (length, isTaken) in [
          (Int32.min, false), (-1, false), (Int32(NC_REQUEST_DATA_BYTES) + 1, true), (.max, true),
        ] {
          let status = try client.call(NC_OP_SETSOCKOPT.rawValue, passing: [socket]) {
            $0.argument = (SOL_SOCKET, SO_KEEPALIVE, length, 0)
          }
          #expect((status == 0) == isTaken, "option length \(length)")
        }
        let status = try client.call(NC_OP_BIND.rawValue, passing: [socket]) { $0.address.family = 77 }
        #expect(status > 0)
        _ = try client.call(NC_OP_LISTEN.rawValue, passing: [socket]) { $0.argument.0 = Int32.min }
      }
    }

    @Test("posted requests: no reply where that is meant, be it taken or refused; all others are answered")
    func posted() throws {
      try survive { _, path in
        let client = try RPCClient(path)
        let socket = try client.openSocket()
        defer { close(socket) }
        for (name, length) in [(SO_KEEPALIVE, Int32(4)), (SO_KEEPALIVE, -1), (9999, 4)] {
          let request = RPCClient.request(NC_OP_SETSOCKOPT.rawValue) {
            $0.flags = UInt32(NC_REQUEST_POSTED)
            $0.argument = (SOL_SOCKET, name, length, 0)
            $0.data.0 = 1
          }
          #expect(client.send(request, passing: [socket]) == 0)
        }
        let status = try client.call(NC_OP_GETSOCKOPT.rawValue, passing: [socket]) {
          $0.flags = UInt32(NC_REQUEST_POSTED)
          $0.argument = (SOL_SOCKET, SO_KEEPALIVE, 4, 0)
        }
        #expect(status == 0)
        let connect = RPCClient.request(NC_OP_CONNECT.rawValue) {
          $0.flags = UInt32(NC_REQUEST_POSTED)
          $0.address.family = UInt16(AF_INET)
          $0.address.port = UInt16(7000).bigEndian
          $0.address.bytes = (203, 0, 113, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)  // no way leads there
        }
        #expect(client.send(connect, passing: [socket]) == 0)
        var end = pollfd(fd: socket, events: 0, revents: 0)
        #expect(poll(&end, 1, 5000) == 1)
        #expect(end.revents & Int16(POLLHUP) != 0, "a failed connect")
      }
    }

    @Test("sockets made ahead: asked for without end, and never taken")
    func dispensers() throws {
      try survive { stage, path in
        let before = stage.daemon.descriptorCount
        let client = try RPCClient(path)
        // Not inside #expect: the compiler (Swift 6) then gives this closure and the next one the same symbol.
        let refused = try client.call(NC_OP_DISPENSER.rawValue) { $0.argument.0 = AF_UNIX }
        #expect(refused == EAFNOSUPPORT)
        var ends: [Int32] = []
        defer { for end in ends { close(end) } }
        for _ in 0..<8 {
          let status = try client.call(NC_OP_DISPENSER.rawValue) {
            $0.argument.0 = AF_INET
          } onDescriptor: {
            ends.append($0)
          }
          #expect(status == 0)
        }
        #expect(ends.count == 8)
        for family in [AF_INET, AF_INET6, AF_UNIX] {
          for index in 0..<300 {
            if index % 20 == 0 { #expect(try client.call(NC_OP_FACTS.rawValue) == 0) }  // those before are done with
            let refill = RPCClient.request(NC_OP_REFILL.rawValue) {
              $0.flags = UInt32(NC_REQUEST_POSTED)
              $0.argument.0 = family
            }
            #expect(client.send(refill) == 0)
          }
        }
        #expect(try client.call(NC_OP_FACTS.rawValue) == 0)
        #expect(stage.daemon.descriptorCount < before + 8 * 40)
      }
    }

    @Test("descriptors that are none of the daemon's sockets: ENOTSOCK")
    func foreignDescriptors() throws {
      try survive { _, path in
        let client = try RPCClient(path)
        var pair: [Int32] = [-1, -1]
        #expect(socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0, &pair) == 0)
        let file = open("/dev/null", O_RDWR | O_CLOEXEC)
        let network = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        defer { for descriptor in pair + [file, network] { close(descriptor) } }
        for descriptor in [pair[0], file, network] {
          for operation in [NC_OP_BIND, NC_OP_LISTEN, NC_OP_CONNECT, NC_OP_NAMES, NC_OP_GETSOCKOPT] {
            let status = try client.call(operation.rawValue, passing: [descriptor]) {
              $0.address.family = UInt16(AF_INET)
              $0.address.port = UInt16(7000).bigEndian
            }
            #expect(status == ENOTSOCK, "operation \(operation.rawValue) on descriptor \(descriptor)")
          }
        }
      }
    }

    @Test("many descriptors at once, descriptors where none belong, and none where one does")
    func wrongDescriptorCounts() throws {
      try survive { _, path in
        let null = open("/dev/null", O_RDWR | O_CLOEXEC)
        defer { close(null) }
        for (operation, count) in [
          (NC_OP_BIND, 2), (NC_OP_BIND, 50), (NC_OP_BIND, 250), (NC_OP_SOCKET, 1), (NC_OP_BIND, 0),
        ] {
          let client = try RPCClient(path)
          let message = RPCClient.request(operation.rawValue) {
            $0.argument.0 = AF_INET
            $0.argument.1 = 1
          }
          #expect(client.send(message, passing: Array(repeating: null, count: count)) == 0)
          #expect(client.receive(seconds: 5) == .closed, "\(count) descriptors")
        }
      }
    }

    @Test("a flood without reading the answers, then close")
    func flood() throws {
      try survive { _, path in
        for operation in [NC_OP_SOCKET, NC_OP_NAMES] {
          let client = try RPCClient(path)
          let message = RPCClient.request(operation.rawValue) {
            $0.argument.0 = AF_INET
            $0.argument.1 = 1
          }
          for _ in 0..<20_000 where client.send(message) == EPIPE { break }
        }
      }
    }

    @Test("300 connections that say nothing, and sockets taken by a client that vanishes")
    func idle() throws {
      try survive { stage, path in
        let clients = try (0..<300).map { _ in try RPCClient(path) }
        let agent = try SocketAgent(stage.onLeft)
        try agent.must("rawsocket")
        for client in clients.prefix(50) { close(try client.openSocket()) }
        var kept: [Int32] = []
        for client in clients.prefix(50) { kept.append(try client.openSocket()) }
        for descriptor in kept { close(descriptor) }
      }
    }

    /// What a marker of shared send memory may be made to say: its byte, and what is noted there of block 0.
    struct Marker: Sendable, CustomTestStringConvertible {
      let block: UInt8
      let bytes: UInt32
      var testDescription: String { "block \(block), \(bytes) bytes" }
      static let all = [
        Marker(block: 64, bytes: 10), Marker(block: 255, bytes: 10), Marker(block: 0, bytes: 0),
        Marker(block: 0, bytes: 65_537), Marker(block: 0, bytes: .max),
      ]
    }

    @Test(
      "markers of shared memory without sense: the connection is reset", .needsSource("shared send memory"),
      arguments: Marker.all)
    func marker(_ marker: Marker) throws {
      try survive { stage, path in
        let (peer, client) = (try SocketAgent(stage.onRight), try RPCClient(path))
        try peer.must("socket pl")
        try peer.must("bind pl \(Address.right) 7100")
        try peer.must("listen pl")
        let socket = try client.openSocket()
        defer { close(socket) }
        #expect(try client.call(NC_OP_ARENA.rawValue, passing: [socket]) == EOPNOTSUPP)
        let status = try client.call(NC_OP_CONNECT.rawValue, passing: [socket]) {
          $0.address.family = UInt16(AF_INET)
          $0.address.port = UInt16(7100).bigEndian
          $0.address.bytes = (10, 77, 1, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
        }
        #expect(status == EINPROGRESS)
        try peer.must("accept pl ps")
        let (memory, arena) = try map(socket, by: client)
        defer { munmap(arena, Int(NC_ARENA_BYTES)) }
        defer { close(memory) }
        #expect(ftruncate(memory, 0) == -1, "its size is sealed")
        // One that makes sense, then the other.
        nc_arena_block(arena, 3).update(repeating: 0x61, count: 5)
        nc_arena_announce(arena, 3, 5)
        #expect(RPCClient.send([3], passing: [memory], on: socket) == 0)
        nc_arena_announce(arena, 0, marker.bytes)
        #expect(RPCClient.send([marker.block], passing: [memory], on: socket) == 0)
        let answer = try peer.ask("recvall ps", seconds: 10)
        #expect(answer == "error ECONNRESET" || answer.hasPrefix("ok 5 "), "the peer: \(answer)")
        // All free and all in use at once, whatever lies there.
        nc_arena_give(arena, .max)
        arena.pointee.queued = .max
      }
    }

    private func map(
      _ socket: Int32, by client: RPCClient
    ) throws -> (memory: Int32, arena: UnsafeMutablePointer<nc_arena>) {
      var memory: Int32 = -1
      try waitUntil("shared memory", seconds: 5) {
        try client.call(NC_OP_ARENA.rawValue, passing: [socket], onDescriptor: { memory = $0 }) != EAGAIN
      }
      let mapped = mmap(nil, Int(NC_ARENA_BYTES), PROT_READ | PROT_WRITE, MAP_SHARED, memory, 0)
      let arena = try #require(mapped == MAP_FAILED ? nil : mapped)
      return (memory, arena.assumingMemoryBound(to: nc_arena.self))
    }
  }
}
