import TestSupport
import Testing

/// A bad wire, and how much a test sends over it: so much that each kind of fault strikes many times, and so little that it
/// takes seconds.
struct BadWire: Sendable, CustomTestStringConvertible {
  let impairment: String
  let bytes: Int
  /// What the daemon's count at the end must name.
  let counted: [String]
  var testDescription: String { impairment }
  var line: String { "impair=\(impairment),seed=1" }

  private init(_ impairment: String, _ bytes: Int, _ counted: [String] = []) {
    (self.impairment, self.bytes, self.counted) = (impairment, bytes, counted)
  }

  static let all = [
    BadWire("loss=0%", 20_000_000),
    BadWire("loss=1%", 1_000_000, ["lost"]),
    BadWire("loss=5%", 200_000, ["lost"]),
    BadWire("loss=10%", 100_000, ["lost"]),
    BadWire("duplicate=5%", 5_000_000, ["duplicated"]),
    BadWire("delay=2ms,reorder=5%", 1_000_000, ["reordered"]),
    BadWire("delay=2ms±1ms", 1_000_000),
    BadWire("corrupt=1%", 500_000, ["corrupted"]),
    BadWire("delay=20ms", 5_000_000),
    BadWire("delay=1ms,rate=50mbit", 2_000_000),
    everything,
  ]
  static let everything = BadWire(
    "loss=1%,delay=2ms±500us,duplicate=2%,reorder=2%,corrupt=1%", 300_000,
    ["lost", "duplicated", "reordered", "corrupted"])
}

extension SystemTests {
  /// Whatever the wire does, every byte arrives, in order, in both directions.
  @Suite struct Impairments {
    private static let manners = ["bulk-send", "bulk-receive", "duplex"]

    /// Ends the daemon: the wire has had its faults, each way.
    private func expectFaults(_ wire: BadWire, _ daemon: DaemonProcess) throws {
      #expect(try daemon.stop(seconds: 30) == .exited(0))
      for direction in ["impair-in: ", "impair-out: "] {
        let line = daemon.standardError.split(separator: "\n").last { $0.contains(direction) }
        let text = try #require(line, "no count in:\n\(daemon.standardError)")
        for kind in wire.counted { #expect(text.contains(kind), "\(text)") }
      }
    }

    @Test("over a tap, to a kernel peer and from one", .needsTap, arguments: BadWire.all)
    func tap(wire: BadWire) throws {
      let stage = try TapStage(lines: [wire.line])
      for manner in Self.manners { try stage.appAsClient.check([manner], bytes: wire.bytes) }
      try stage.appAsServer.check(["duplex", "--close-first", "server"], bytes: wire.bytes)
      try expectFaults(wire, stage.daemon)
    }

    @Test("over a hub, between two intercepted programs", arguments: BadWire.all)
    func hub(wire: BadWire) throws {
      let stage = try HubStage(lines: [wire.line])
      for manner in Self.manners { try stage.exchange.check([manner], bytes: wire.bytes) }
      try expectFaults(wire, stage.daemon)
    }

    @Test("IPv6 over a tap, everything at once", .needsTap)
    func tapIPv6() throws {
      let wire = BadWire.everything
      let stage = try TapStage(ipv6: true, lines: [wire.line])
      let exchange = Exchange(
        binaries: stage.binaries, serverAddress: Address.peer6, serverSide: stage.kernel, clientSide: stage.app)
      for manner in Self.manners { try exchange.check([manner], bytes: wire.bytes) }
      try expectFaults(wire, stage.daemon)
    }

    @Test("spoilt datagrams reach nobody", .needsTap, .needs("python3"), .needs("ping"), arguments: [false, true])
    func datagrams(ipv6: Bool) throws {
      let stage = try TapStage(ipv6: ipv6, lines: ["impair=corrupt=30%"])
      let (app, kernel) = (try SocketAgent(stage.app), try SocketAgent(stage.kernel))
      // Both must know each other: what waits for a neighbour, whose answers are spoilt as well, is not much.
      let own = ipv6 ? Address.app6 : Address.app
      let ping = Command("ping", ["-c", "1", "-w", "2", "-q", own])
      try waitUntil("answer", seconds: 60) { try stage.namespace.run(ping).status.isSuccess }
      for (sender, receiver, address) in [
        (app, kernel, ipv6 ? Address.peer6 : Address.peer), (kernel, app, own),
      ] {
        for agent in [sender, receiver] { try agent.must("socket u \(ipv6 ? "6" : "4") udp") }
        try receiver.must("bind u \(address) 5000")
        try sender.must("flood u 150 1000 \(address) 5000", seconds: 30)
        let drained = try receiver.must("drain u 1000", seconds: 30).split(separator: " ")
        let count = try #require(Int(drained[0]))
        #expect(count > 50 && count < 140, "of 150, 105 or so are sound")
        #expect(drained[1...] == ["rising", "whole"])
        for agent in [sender, receiver] { try agent.must("close u") }
      }
    }

    @Test("a delay is as long as it says", .needsTap, .needs("ping"))
    func delay() throws {
      let stage = try TapStage(lines: ["impair-in=delay=30ms", "impair-out=delay=1.5ms"])
      let ping = Command("ping", ["-c", "5", "-i", "0.2", "-q", Address.app])
      let result = try stage.namespace.run(ping).checked()
      // rtt min/avg/max/mdev = 31.612/…
      let least = result.standardOutput.split(separator: "= ").last?.split(separator: "/").first.flatMap { Double($0) }
      let milliseconds = try #require(least, "\(result)")
      #expect(milliseconds >= 31.5 && milliseconds < 36, "\(result)")
    }

    @Test(
      "a connect that takes a while succeeds with a small send buffer, which is the usual one soon", .needsTap,
      .needs("python3"))
    func lateConnect() throws {
      let stage = try TapStage(lines: ["impair=delay=150ms"])
      let (app, kernel) = (try SocketAgent(stage.app), try SocketAgent(stage.kernel))
      try kernel.accept(app, at: Address.peer)
      var taken = 0
      try waitUntil("a send of 128 KiB at once", seconds: 10) {
        let count = try #require(Int(try app.must("offer c 262144")))
        taken += count
        return count >= 131_072
      }
      try app.must("close c")
      // What was taken arrives, whichever buffer it went through.
      let received = try kernel.must("recvall s", seconds: 30)
      #expect(received.split(separator: " ").first == "\(taken)")
    }

    @Test("what waits when the daemon ends is let go", .needsTap)
    func end() throws {
      let stage = try TapStage(lines: ["impair=delay=60s"])
      _ = try stage.namespace.run(Command("ping", ["-c", "3", "-i", "0.05", "-W", "1", Address.app]))
      #expect(try stage.daemon.stop() == .exited(0))
    }
  }
}
