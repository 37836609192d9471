import Glibc
@testable import LwipGlue
import Slab
import Testing

extension StackTests {
  @Suite struct InterfaceRemoval {
    /// Host 0 has a connection in mid-transfer, one that was closed with bytes unsent, one that nobody answers, one in
    /// TIME_WAIT and a listener; hosts 1 and 2 have one of their own.
    @Test func `an interface that goes takes its connections along, and nobody else's`() throws {
      try World.with([["10.0.0.1/24"], ["10.0.0.2/24"], ["10.0.0.3/24"]]) { world in
        let removed = world.hosts[0].interface!
        let service = try world.listen(1)
        func made(_ peer: Peer) throws -> Peer {
          #expect(world.run(seconds: 5) { peer.isEstablished })
          return peer
        }
        let ended = try made(world.connect(0, to: world.hosts[1].address()))
        ended.close()
        #expect(world.run(seconds: 5) { service.accepted.first?.isEnded == true })
        service.accepted[0].close()
        world.run(seconds: 1)
        #expect(world.stack.timeWait.count == 1)
        let bystander = try made(world.connect(2, to: world.hosts[1].address()))
        _ = try world.listen(0)
        let guest = try made(world.connect(2, to: world.hosts[0].address()))
        let lone = try world.connect(0, to: IPAddress("10.0.0.77")!)
        let sender = try made(world.connect(0, to: world.hosts[1].address()))
        let closed = try made(world.connect(0, to: world.hosts[1].address()))
        #expect(world.run(seconds: 5) { service.accepted.count == 4 })
        sender.send(pattern(2_000_000))
        closed.send(pattern(2_000_000))
        closed.close()
        world.run(seconds: 0.0005)
        #expect(world.memory.usedCount > 0)
        for peer in [lone, sender] { peer.dropChunk() }  // the app.s own reference

        world.stack.remove(removed)

        #expect(world.run(seconds: 5) { guest.isOver && service.accepted[2].isOver && service.accepted[3].isOver })
        #expect(guest.error == ECONNRESET && service.accepted[2].error == ECONNRESET)
        for peer in [guest, service.accepted[2], service.accepted[3]] { peer.close() }
        world.medium.clear()
        #expect(world.memory.usedCount == 0)
        #expect(world.stack.timeWait.isEmpty && world.stack.connectionCount == 2 && world.stack.listeners.count == 1)
        let bytes = pattern(200_000)
        bystander.send(bytes)
        #expect(world.run(seconds: 5) { service.accepted[1].received.count == bytes.count })
        #expect(difference(service.accepted[1].received, from: bytes) == nil)
      }
    }

    @Test func `one that comes again with its address finds nothing of it`() throws {
      try World.with { world in
        let (client, server) = try world.connected()
        let port = try #require(world.stack.endpoints(of: client.key)?.local.port)
        client.close()
        #expect(world.run(seconds: 5) { server.isEnded })
        server.close()
        world.run(seconds: 1)
        #expect(world.stack.timeWait.count == 1)
        world.replaceInterface(of: 0)
        #expect(world.stack.timeWait.isEmpty)
        let again = try world.connect(0, to: world.hosts[1].address(), localPort: port)
        #expect(world.run(seconds: 5) { again.isEstablished })
      }
    }
  }
}
