import TestSupport
import Testing

extension SystemTests {
  /// Programs of one network that connect to each other: joined directly, the daemon is not on the path.
  @Suite struct Direct {
    @Test("data and ends both ways, with the right names, and the daemon holds nothing of it", arguments: [4, 6])
    func joined(version: Int) throws {
      let stage = try HubStage(ipv6: true)
      let address = version == 4 ? Address.left : Address.left6
      let (server, client) = (try SocketAgent(stage.onLeft), try SocketAgent(stage.onLeft))
      try server.must("socket l \(version)")
      try server.must("bind l \(address) 7000")
      try server.must("listen l")
      try client.must("rawsocket")  // the program is connected to the daemon from here on
      let descriptors = stage.daemon.descriptorCount
      try client.must("socket c \(version)")
      try client.must("connect c \(address) 7000")
      let peer = try server.must("accept l s")
      #expect(try client.must("local c") == peer)
      #expect(try server.must("remote s") == peer)
      #expect(try client.must("remote c") == "\(address) 7000")
      #expect(try server.must("local s") == "\(address) 7000")
      try waitUntil("the daemon's descriptors as before", seconds: 5) {
        stage.daemon.descriptorCount <= descriptors
      }
      let sent = try client.must("send c 1 100000")
      #expect(try server.must("recv s 100000") == "100000 \(sent)")
      try client.must("shutdown c wr")
      #expect(try server.must("recvall s").hasPrefix("0 "))
      let answered = try server.must("send s 2 1000")
      #expect(try client.must("recv c 1000") == "1000 \(answered)")
      try server.must("close s")
      #expect(try client.must("recvall c").hasPrefix("0 "))
    }

    @Test("it goes on without the daemon")
    func outlivesDaemon() throws {
      let stage = try HubStage()
      let (server, client) = (try SocketAgent(stage.onLeft), try SocketAgent(stage.onLeft))
      try server.accept(client, at: Address.left)
      try stage.daemon.stop()
      let sent = try client.must("send c 1 1000")
      #expect(try server.must("recv s 1000") == "1000 \(sent)")
    }

    @Test("what nobody accepted is reset when the listener closes")
    func neverAccepted() throws {
      let stage = try HubStage()
      let (server, client) = (try SocketAgent(stage.onLeft), try SocketAgent(stage.onLeft))
      try server.must("socket l")
      try server.must("bind l \(Address.left) 7000")
      try server.must("listen l")
      try client.must("socket c")
      try client.must("connect c \(Address.left) 7000")
      try client.begin("recv c 1")
      try server.must("close l")
      #expect(try client.answer(seconds: 5) == "error ECONNRESET")
    }

    @Test("SO_LINGER with 0 seconds resets")
    func lingers() throws {
      let stage = try HubStage()
      let (server, client) = (try SocketAgent(stage.onLeft), try SocketAgent(stage.onLeft))
      try server.accept(client, at: Address.left)
      try client.begin("recv c 1")
      try server.must("reset s")
      #expect(try client.answer(seconds: 5) == "error ECONNRESET")
    }

    @Test("a port is free again once its connection has ended")
    func portsComeBack() throws {
      let stage = try HubStage()
      let (server, client) = (try SocketAgent(stage.onLeft), try SocketAgent(stage.onLeft))
      try server.must("socket l")
      try server.must("bind l \(Address.left) 7000")
      try server.must("listen l")
      try client.must("socket c")
      try client.must("bind c \(Address.left) 7001")
      try client.must("connect c \(Address.left) 7000")
      try server.must("accept l s")
      try client.must("socket d")
      #expect(try client.ask("bind d \(Address.left) 7001") == "error EADDRINUSE")
      try client.must("close c")
      try server.must("close s")
      try client.must("bind d \(Address.left) 7001")
    }

    @Test(
      "a full accept queue makes the connect wait, and an accept lets it in",
      .needsOwnAddresses)
    func waitsForRoom() throws {
      let stage = try HubStage()
      let (server, client) = (try SocketAgent(stage.onLeft), try SocketAgent(stage.onLeft))
      try server.must("socket l")
      try server.must("bind l \(Address.left) 7000")
      try server.must("listen l 0")
      try client.must("socket a")
      try client.must("connect a \(Address.left) 7000")
      try client.must("socket b")
      #expect(try client.must("connectnow b \(Address.left) 7000 300") == "PENDING")
      try server.must("accept l s")
      try server.must("accept l t")
      #expect(try client.must("poll b 5000") == "4")
      let sent = try client.must("send b 1 10")
      #expect(try server.must("recv t 10") == "10 \(sent)")
    }
  }

  @Suite struct PendingConnects {
    @Test("a program that closes a connecting socket ends the attempt", .needsTap)
    func closed() throws {
      let stage = try TapStage()
      let app = try SocketAgent(stage.app)
      try app.must("rawsocket")  // the program is connected to the daemon from here on
      let descriptors = stage.daemon.descriptorCount
      try app.must("socket a")
      #expect(try app.must("connectnow a 10.77.2.77 7000 50") == "PENDING")
      try app.must("close a")
      try waitUntil("the daemon's descriptors as before", seconds: 2) {
        stage.daemon.descriptorCount <= descriptors
      }
    }

    @Test("a connect that took long has the same connection as any other", .needsTap)
    func late() throws {
      let stage = try TapStage()
      let (app, peer) = (try SocketAgent(stage.app), try SocketAgent(stage.kernel))
      try peer.must("socket l")
      try peer.must("bind l \(Address.peer) 7000")
      try peer.must("listen l 0")
      try peer.must("socket p")
      try peer.must("connect p \(Address.peer) 7000")  // the queue is full now
      try app.must("socket a")
      #expect(try app.must("connectnow a \(Address.peer) 7000 500") == "PENDING")
      try peer.must("accept l q")
      #expect(try app.must("poll a 5000") == "4")
      try peer.must("accept l s")
      try app.must("block a")
      try peer.begin("recv s 3000000")
      let sent = try app.must("send a 1 3000000")
      #expect(try peer.answer(seconds: 20) == "ok 3000000 \(sent)")
    }
  }
}
