import Frames
import Glibc
@testable import LwipGlue
import Testing

extension StackTests {
  /// Two hosts of both families on each kind of link.
  @Suite struct Datagrams {
    static let hosts = [["10.0.0.1/24", "fd00::1/64"], ["10.0.0.2/24", "fd00::2/64"]]
    static let targets = ["10.0.0.2", "fd00::2"]

    @Test(arguments: Wire.Style.allCases, targets)
    func `boundaries, addresses and header fields arrive as they were sent`(style: Wire.Style, target: String) throws {
      try World.with(Self.hosts, style: style) { world in
        let sockets = world.bind(5000)
        world.settle()
        let address = IPAddress(target)!
        var options = DatagramOptions()
        options.hopLimit = 7
        options.trafficClass = 0xb8
        for count in [0, 1, 2, 3, 1000] { try world.send(0, to: address, pattern(count), options: options) }
        let arrivals = world.arrivals(sockets, 5)
        #expect(arrivals.map(\.bytes) == [0, 1, 2, 3, 1000].map { pattern($0) })
        let source = Endpoint(address: world.hosts[0].address(address.isV6 ? 1 : 0), port: 4000)
        for arrival in arrivals {
          #expect(arrival.kind == .udp && arrival.interface == world.hosts[1].interface.number)
          #expect(arrival.source == source && arrival.destination == Endpoint(address: address, port: 5000))
          #expect(arrival.hopLimit == 7 && arrival.trafficClass == 0xb8)
        }
        #expect(world.stack.datagramCounters.received == 5 && world.stack.datagramCounters.sent == 5)
      }
    }

    /// Around each limit: what fits a frame, a fragment more, what fits lwIP's buffers, the largest there is.
    @Test(arguments: Wire.Style.allCases)
    func `large datagrams are fragmented at the MTU and put together again`(style: Wire.Style) throws {
      try World.with(Self.hosts, style: style) { world in
        let sockets = world.bind(5000)
        world.settle()
        world.wire.isCapturing = true
        for (target, counts) in [
          ("10.0.0.2", [1472, 1473, 2952, 2953, 65_506, 65_507]),
          ("fd00::2", [1452, 1453, 65_487, 65_488, 65_507, 65_527]),
        ] {
          for count in counts {
            try world.send(0, to: IPAddress(target)!, pattern(count))
            let arrivals = world.arrivals(sockets, 1)
            #expect(arrivals.count == 1, "\(count) bytes to \(target)")
            #expect(arrivals.first.map { difference($0.bytes, from: pattern(count)) } == .some(nil))
            let frames = world.wire.takeCaptured().filter { $0.origin == 0 && !$0.isARP }
            #expect(frames.allSatisfy { $0.bytes.count <= 1514 })
          }
        }
      }
    }

    @Test(arguments: targets) func `what is too large is refused`(target: String) throws {
      try World.with(Self.hosts) { world in
        let address = IPAddress(target)!
        let limit = address.isV6 ? 65_527 : 65_507
        #expect(throws: StackError(EMSGSIZE)) { try world.send(0, to: address, pattern(limit + 1)) }
        var options = DatagramOptions()
        options.dontFragment = true
        let whole = address.isV6 ? 1452 : 1472
        try world.send(0, to: address, pattern(whole), options: options)
        #expect(throws: StackError(EMSGSIZE)) { try world.send(0, to: address, pattern(whole + 1), options: options) }
      }
    }

    @Test func `no route and no address are told`() throws {
      try World.with([["10.0.0.1/24"], ["10.0.0.2/24"]]) { world in
        #expect(throws: StackError(ENETUNREACH)) { try world.send(0, to: IPAddress("192.0.2.1")!, [1]) }
        #expect(throws: StackError(ENETUNREACH)) { try world.send(0, to: IPAddress("2001:db8::1")!, [1]) }
        let interface = world.hosts[0].interface!
        func source(_ target: String) throws -> String {
          try interface.datagramSource(for: IPAddress(target)!).description
        }
        #expect(throws: StackError(ENETUNREACH)) { try source("192.0.2.1") }
        let sources = try ["10.0.0.2", "127.0.0.9", "0.0.0.0", "255.255.255.255", "239.1.1.1", "ff02::1"].map(source)
        let own = "10.0.0.1"
        #expect(sources == [own, "127.0.0.1", "127.0.0.1", own, own, interface.linkLocal.description])
      }
    }

    /// Own addresses, all of 127.0.0.0/8, and "any", which is loopback.
    @Test(arguments: ["127.0.0.1", "127.9.8.7", "10.0.0.1", "10.0.0.3", "0.0.0.0", "::1", "fd00::1", "::"])
    func `a host talks to itself`(target: String) throws {
      try World.with([["10.0.0.1/24", "10.0.0.3/24", "fd00::1/64"], ["10.0.0.2/24"]]) { world in
        let sockets = world.bind(5000)
        world.settle()
        world.wire.isCapturing = true
        let address = IPAddress(target)!
        let largest = address.isV6 ? 65_527 : 65_507
        for count in [0, 3, 9000, largest] {
          try world.send(0, to: address, pattern(count))
          let arrivals = world.arrivals(sockets, 1)
          #expect(arrivals.count == 1 && difference(arrivals[0].bytes, from: pattern(count)) == nil, "\(count)")
          #expect(arrivals.first?.interface == world.hosts[0].interface.number)
          if !address.isAny { #expect(arrivals.first?.destination.address == address) }
        }
        try world.send(0, to: address, port: 9, pattern(10))
        world.run(seconds: 0.1) { !sockets.failures.isEmpty }
        #expect(sockets.takeFailures().map(\.error) == [ECONNREFUSED])
        #expect(world.wire.takeCaptured().allSatisfy { $0.isV6 && $0.transport != 17 && $0.transport != 44 })
      }
    }

    @Test(arguments: Wire.Style.allCases, targets)
    func `a port that nobody has bound is unreachable`(style: Wire.Style, target: String) throws {
      try World.with(Self.hosts, style: style) { world in
        let sockets = world.bind(5000)
        world.settle()
        let address = IPAddress(target)!
        for count in [0, 20, 5000] {
          try world.send(0, to: address, port: 5001, pattern(count))
          world.run(seconds: 2) { !sockets.failures.isEmpty }
          let failure = try #require(sockets.takeFailures().first)
          let source = Endpoint(address: world.hosts[0].address(address.isV6 ? 1 : 0), port: 4000)
          #expect(failure.kind == .udp && failure.source == source && failure.teller == address)
          #expect(failure.destination == Endpoint(address: address, port: 5001))
          #expect(failure.error == ECONNREFUSED && failure.isFatal)
          #expect(failure.type == (address.isV6 ? 1 : 3) && failure.code == (address.isV6 ? 4 : 3))
          #expect(failure.bytes == pattern(count).prefix(failure.bytes.count).map { $0 })
        }
        #expect(world.stack.datagramCounters.unclaimed == 3)
      }
    }
  }
}
