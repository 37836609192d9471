import Glibc
import NetcondRPC
import TestSupport
import Testing

extension SystemTests {
  /// Shared send memory: what an app writes in bulk, in whatever way and among other writers, arrives in order and whole.
  @Suite struct SharedMemory {
    /// Runs Programs/writers.c as sender on one side and as receiver on the other. Returns what each has printed.
    private func send(
      to address: String, from sender: (Command) -> Command, receiver: (Command) -> Command
    ) throws -> (sent: [String], received: [String]) {
      let program = try CProgram("writers")
      let server = try ReadyProcess(receiver(program.command(["serve", address, "2"])), seconds: 20)
      let port = String(server.word.dropFirst("ready ".count))
      let client = try run(sender(program.command(["send", address, port])), seconds: 120).checked()
      #expect(client.standardError.isEmpty)
      #expect(try server.process.wait(seconds: 60) == .exited(0), "\(server.process.standardError)")
      func lines(_ text: String) -> [String] { text.split(separator: "\n").map(String.init) }
      return (lines(client.standardOutput), lines(server.process.standardOutput))
    }

    @Test("all ways to write, with forks, dups, other programs' writes and a number used again; as natively", .needsTap)
    func tap() throws {
      let stage = try TapStage()
      let (sent, received) = try send(to: Address.peer, from: stage.app, receiver: stage.kernel)
      #expect(Array(sent.dropLast()) == received)
      #expect(sent.last == "shared memory: yes")
      let (native, alsoReceived) = try send(to: Address.peer, from: stage.kernel, receiver: stage.kernel)
      #expect(Array(native.dropLast()) == alsoReceived)
      #expect(received == alsoReceived)
    }

    @Test("the same over a hub, whose receivers keep frames")
    func hub() throws {
      let stage = try HubStage()
      let (sent, received) = try send(to: Address.right, from: stage.onLeft, receiver: stage.onRight)
      #expect(Array(sent.dropLast()) == received)
      #expect(sent.last == "shared memory: yes")
    }

    @Test("with loss, where segments are sent again from it")
    func loss() throws {
      let stage = try HubStage(lines: ["impair=loss=1%"])
      let (sent, received) = try send(to: Address.right, from: stage.onLeft, receiver: stage.onRight)
      #expect(Array(sent.dropLast()) == received)
    }

    @Test("two programs of one network, and destinations of the host, need none")
    func none() throws {
      let stage = try HubStage(lines: ["loopback=host"])
      let (sent, received) = try send(to: Address.left, from: stage.onLeft, receiver: stage.onLeft)
      #expect(sent == received + ["shared memory: no"])
      let (toHost, atHost) = try send(to: "127.0.0.1", from: stage.onRight, receiver: { $0 })
      #expect(toHost == atHost + ["shared memory: no"])
    }

    @Test("an idle connection's goes back to the system", .needsTap)
    func idle() throws {
      let stage = try TapStage()
      let (peer, app) = (try SocketAgent(stage.kernel), try SocketAgent(stage.app))
      try peer.accept(app, at: Address.peer)
      for seed in 1...3 {  // the first one shows that there is much to send
        try peer.begin("recv s 4000000")
        let sum = try app.must("send c \(seed) 4000000")
        #expect(try peer.answer(seconds: 20) == "ok 4000000 \(sum)")
      }
      let daemon = stage.daemon.process.pid
      func touched() throws -> Int {
        let text = try readFile("/proc/\(daemon)/status")
        let line = try #require(text.split(separator: "\n").first { $0.hasPrefix("RssShmem:") })
        return Int(line.filter(\.isNumber)) ?? -1
      }
      #expect(try touched() >= 200)
      try waitUntil("shared memory is given back", seconds: 10) { try touched() < 200 }
    }
  }
}
