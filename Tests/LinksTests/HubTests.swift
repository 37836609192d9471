import Frames
import Links
import Testing
import UringLoop

/// Hosts 0, 1 and 2 on ports of one hub.
private final class Stage {
  let loop: Loop
  let hub = Hub(name: "test")
  let maker: FrameMaker
  let ports: [HubPort]
  let hosts: [Listener]

  init(ports count: Int = 3) throws {
    loop = try Loop(bufferCount: 1)
    maker = FrameMaker(loop.frames)
    hosts = (0..<count).map { _ in Listener() }
    var ports: [HubPort] = []
    for host in hosts {
      let port = hub.makePort(mtu: 1500)
      port.start(loop.context(UInt16(ports.count)), delegate: host)
      ports.append(port)
    }
    self.ports = ports
  }

  /// Host `port` sends; true where the hub took the frame.
  @discardableResult
  func send(_ text: String, on port: Int, to destination: MACAddress, from source: MACAddress? = nil) throws -> Bool {
    let frame = try maker.make(to: destination, from: source ?? .host(port), text)
    defer { frame.release() }
    return ports[port].transmit(frame)
  }

  /// What each host received since the last time, after all is delivered.
  func deliver() -> [[String]] {
    while ports[0].isPending {
      #expect(loop.attention.take(), "nobody would poll")
      ports[0].poll()
    }
    return hosts.map { $0.takeReceived() }
  }
}

@Suite(.enabled(if: ringIsAvailable, "io_uring is not available here"))
struct HubTests {
  @Test func `an unknown destination is flooded, a known one is not`() throws {
    let stage = try Stage()
    try stage.send("where are you", on: 0, to: .host(1))
    #expect(stage.deliver() == [[], ["where are you"], ["where are you"]])
    try stage.send("here", on: 1, to: .host(0))
    #expect(stage.deliver() == [["here"], [], []])
    try stage.send("good", on: 0, to: .host(1))
    #expect(stage.deliver() == [[], ["good"], []])
  }

  @Test func `broadcast and multicast reach all but the sender`() throws {
    let stage = try Stage()
    try stage.send("all", on: 2, to: .broadcast)
    try stage.send("some", on: 1, to: MACAddress(bits: 0x3333_0000_0001))
    #expect(stage.deliver() == [["all", "some"], ["all"], ["some"]])
  }

  @Test func `nothing is delivered from inside transmit`() throws {
    let stage = try Stage()
    stage.hosts[1].onReceive = { [unowned stage] in
      let answered = try? stage.send("pong", on: 1, to: .host(0))
      #expect(answered == true)
      #expect(stage.hosts[0].received.isEmpty, "delivered while another frame is being delivered")
    }
    try stage.send("ping", on: 0, to: .host(1))
    #expect(stage.hosts[1].received.isEmpty)
    #expect(stage.ports.allSatisfy { $0.isPending })
    #expect(stage.loop.attention.take())
    stage.ports[2].poll()
    #expect(stage.hosts[1].received == ["ping"])
    #expect(stage.deliver()[0] == ["pong"])
    #expect(!stage.ports[0].isPending)
  }

  @Test func `frames keep their order`() throws {
    let stage = try Stage(ports: 2)
    for number in 0..<500 { try stage.send("\(number)", on: 0, to: .host(1)) }
    #expect(stage.deliver()[1] == (0..<500).map { "\($0)" })
  }

  @Test func `one poll delivers a bounded number of frames`() throws {
    let stage = try Stage(ports: 2)
    for number in 0..<1000 { try stage.send("\(number)", on: 0, to: .host(1)) }
    stage.ports[0].poll()
    #expect(!stage.hosts[1].received.isEmpty)
    #expect(stage.hosts[1].received.count < 1000)
    #expect(stage.ports[1].isPending)
  }

  @Test func `a full hub refuses, takes nothing, and calls when there is room`() throws {
    let stage = try Stage()
    var taken = 0
    while try stage.send("x", on: 0, to: .host(1)) {
      taken += 1
      try #require(taken < 100_000, "the queue has no bound")
    }
    #expect(stage.loop.frames.liveCount == taken)
    #expect(stage.ports[0].counters.sentFrames == UInt64(taken))
    #expect(stage.hosts.map(\.readyCount) == [0, 0, 0])
    #expect(stage.deliver()[1].count == taken)
    #expect(stage.hosts[0].readyCount == 1)
    let again = try stage.send("y", on: 0, to: .host(1))
    #expect(again)
    #expect(stage.deliver()[1] == ["y"])
    #expect(stage.hosts[0].readyCount == 1)
  }

  @Test func `a stopped port is forgotten and hears no more`() throws {
    let stage = try Stage()
    try stage.send("hello", on: 1, to: .broadcast)
    _ = stage.deliver()
    stage.ports[1].stop()
    let sent = try stage.send("from the grave", on: 1, to: .broadcast)
    #expect(!sent)
    try stage.send("anyone", on: 0, to: .host(1))
    #expect(stage.deliver() == [[], [], ["anyone"]])  // flooded: the table has no host 1
    #expect(stage.ports[1].counters.receivedFrames == 0)
    #expect(!stage.ports[1].facts.isUp)
    stage.ports[1].stop()  // once more: nobody else's place is cleared
  }

  @Test func `a port's place is another's after it`() throws {
    let stage = try Stage()
    stage.ports[1].stop()
    let (newcomer, listener) = (stage.hub.makePort(mtu: 1500), Listener())
    newcomer.start(stage.loop.context(3), delegate: listener)
    stage.ports[1].stop()
    try stage.send("anyone", on: 0, to: .broadcast)
    #expect(stage.deliver() == [[], [], ["anyone"]])
    #expect(listener.takeReceived() == ["anyone"])
  }

  @Test func `a host that moves to another port is found there`() throws {
    let stage = try Stage()
    try stage.send("first here", on: 1, to: .broadcast, from: .host(7))
    try stage.send("now there", on: 2, to: .broadcast, from: .host(7))
    _ = stage.deliver()
    try stage.send("letter", on: 0, to: .host(7))
    #expect(stage.deliver() == [[], [], ["letter"]])
  }

  @Test func `a group address as source is not learned`() throws {
    let stage = try Stage()
    let group = MACAddress(bits: 0x0100_5e00_0005)
    try stage.send("forged", on: 1, to: .host(0), from: group)
    try stage.send("forged", on: 1, to: .host(0), from: .broadcast)
    _ = stage.deliver()
    try stage.send("to the group", on: 0, to: group)
    try stage.send("to all", on: 0, to: .broadcast)
    #expect(stage.deliver() == [[], ["to the group", "to all"], ["to the group", "to all"]])
  }

  @Test func `a frame to a host on the sender's own port goes nowhere`() throws {
    let stage = try Stage()
    try stage.send("both of us live here", on: 0, to: .broadcast, from: .host(10))
    _ = stage.deliver()
    try stage.send("neighbour", on: 0, to: .host(10))
    #expect(stage.deliver() == [[], [], []])
  }

  @Test func `a flood of forged sources does not make known hosts unreachable`() throws {
    let stage = try Stage()
    try stage.send("me", on: 1, to: .host(0))
    for number in 100..<10_100 {
      try stage.send("f", on: 2, to: .host(2), from: .host(number))
      if number % 200 == 0 { _ = stage.deliver() }
    }
    _ = stage.deliver()
    try stage.send("still there", on: 0, to: .host(1))
    #expect(stage.deliver() == [[], ["still there"], []])
  }

  @Test func `frames shorter than an Ethernet header are dropped`() throws {
    let stage = try Stage()
    let frame = try #require(stage.loop.frames.make(source: stage.maker))
    let memory = UnsafeMutableRawPointer.allocate(byteCount: 13, alignment: 1)
    memory.initializeMemory(as: UInt8.self, repeating: 0xff, count: 13)
    frame.context = memory
    _ = frame.append(memory, count: 13)
    _ = stage.ports[0].transmit(frame)
    frame.release()
    #expect(stage.deliver() == [[], [], []])
  }

  @Test func `every frame's memory comes back once`() throws {
    let stage = try Stage()
    for number in 0..<300 { try stage.send("\(number)", on: number % 3, to: number % 2 == 0 ? .broadcast : .host(1)) }
    #expect(stage.maker.releasedCount == 0)
    _ = stage.deliver()
    #expect(stage.maker.releasedCount == 300)
    #expect(stage.loop.frames.liveCount == 0)
  }

  @Test func `the ports' facts and counters tell what passed`() throws {
    let stage = try Stage(ports: 2)
    #expect(stage.ports[0].facts == LinkFacts(mtu: 1500, offloads: .all, isUp: true))
    #expect(stage.ports[0].name == "hub:test")
    #expect(stage.ports[0].keepsFrames)
    try stage.send("four", on: 0, to: .host(1))
    _ = stage.deliver()
    #expect((stage.ports[0].counters.sentFrames, stage.ports[0].counters.sentBytes) == (1, 18))
    #expect((stage.ports[1].counters.receivedFrames, stage.ports[1].counters.receivedBytes) == (1, 18))
  }
}
