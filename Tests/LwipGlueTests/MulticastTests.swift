import Frames
import Glibc
@testable import LwipGlue
import Testing

extension StackTests {
  @Suite struct Multicast {
    private static let hosts = [
      ["10.0.0.1/24", "10.9.0.1/16", "fd00::1/64"], ["10.0.0.2/24", "10.9.0.2/16", "fd00::2/64"],
    ]
    private static let groups = ["239.1.2.3", "ff05::1:3", "ff02::42"]

    @Test(arguments: groups) func `members get what is sent to their group, others do not`(group: String) throws {
      try World.with(Self.hosts) { world in
        let sockets = world.bind(5000)
        world.settle()
        let address = IPAddress(group)!
        let member = world.hosts[1].interface!
        for count in [0, 100, 5000] {
          try world.send(0, to: address, pattern(count))
          #expect(world.arrivals(sockets, 1, seconds: 0.1).isEmpty)
        }
        try member.join(address)
        try member.join(address)
        for count in [0, 100, 5000, 60_000] {
          try world.send(0, to: address, pattern(count))
          let arrivals = world.arrivals(sockets, 1)
          #expect(arrivals.map(\.bytes) == [pattern(count)] && arrivals.first?.destination.address == address)
          #expect(arrivals.first?.interface == member.number)
        }
        try member.leave(address)
        #expect(member.groups == [address])
        try world.send(0, to: address, [1])
        #expect(world.arrivals(sockets, 1).count == 1)
        try member.leave(address)
        #expect(member.groups.isEmpty)
        #expect(throws: StackError(EADDRNOTAVAIL)) { try member.leave(address) }
        try world.send(0, to: address, [1])
        #expect(world.arrivals(sockets, 1, seconds: 0.1).isEmpty)
        #expect(sockets.failures.isEmpty)
      }
    }

    @Test(arguments: groups) func `the sender's own members hear it, unless it does not want that`(group: String) throws
    {
      try World.with(Self.hosts) { world in
        let sockets = world.bind(5000)
        world.settle()
        let address = IPAddress(group)!
        let own = world.hosts[0].interface!
        try own.join(address)
        try world.send(0, to: address, pattern(3000))
        #expect(world.arrivals(sockets, 1).map(\.interface) == [own.number])
        var options = DatagramOptions()
        options.loopsMulticast = false
        try world.send(0, to: address, [1], options: options)
        #expect(world.arrivals(sockets, 1, seconds: 0.1).isEmpty)
        world.wire.isCapturing = true
        options.loopsMulticast = true
        options.hopLimit = 0  // not beyond this host
        try world.send(0, to: address, [1], options: options)
        #expect(world.arrivals(sockets, 1).count == 1)
        #expect(!world.wire.takeCaptured().contains { $0.transport == 17 })
      }
    }

    @Test func `routers are told of the first join and the last leave`() throws {
      try World.with(Self.hosts) { world in
        world.settle()
        world.run(seconds: 20)  // lwIP's own reports
        world.wire.isCapturing = true
        let member = world.hosts[1].interface!
        let v4 = IPAddress("239.1.2.3")!
        let v6 = IPAddress("ff05::1:3")!
        for _ in 0..<2 {
          try member.join(v4)
          try member.join(v6)
        }
        world.run(seconds: 15)
        let joins = world.wire.takeCaptured().filter { $0.origin == 1 }
        let reports = joins.filter { $0.isV4 && $0.transport == 2 && $0.u8($0.tcp) == 0x16 }  // IGMPv2 report, RFC 2236
        #expect(!reports.isEmpty && reports.count <= 2)
        #expect(reports.allSatisfy { Array($0.transportBytes[4..<8]) == RawPackets.octets("239.1.2.3") })
        #expect(reports.allSatisfy { Array($0.bytes[0..<6]) == [1, 0, 0x5e, 1, 2, 3] && $0.u8(22) == 1 })
        // MLDv1 report behind a router alert, RFC 2710.
        let listeners = joins.filter { $0.isV6 && $0.u8(20) == 0 && $0.u8(62) == 131 }
        #expect(!listeners.isEmpty && listeners.count <= 2)
        #expect(listeners.allSatisfy { Array($0.bytes[70..<86]) == RawPackets.octets("ff05::1:3") })
        for _ in 0..<2 {
          try member.leave(v4)
          try member.leave(v6)
        }
        world.run(seconds: 1)
        let leaves = world.wire.takeCaptured().filter { $0.origin == 1 }
        #expect(leaves.filter { $0.isV4 && $0.transport == 2 && $0.u8($0.tcp) == 0x17 }.count == 1)
        #expect(leaves.filter { $0.isV6 && $0.u8(20) == 0 && $0.u8(62) == 132 }.count == 1)
        #expect(throws: StackError(EINVAL)) { try member.join(IPAddress("10.0.0.7")!) }
      }
    }

    @Test(arguments: ["255.255.255.255", "10.0.0.255", "10.9.255.255"])
    func `a broadcast reaches everybody on the link, the sender too`(target: String) throws {
      try World.with(Self.hosts + [["10.0.0.3/24", "10.9.0.3/16"]]) { world in
        let sockets = world.bind(5000)
        let address = IPAddress(target)!
        #expect(world.hosts[0].interface.isBroadcast(address))
        #expect(!world.hosts[0].interface.isBroadcast(IPAddress("10.0.0.254")!))
        world.wire.isCapturing = true
        for count in [0, 10, 4000] {
          try world.send(0, to: address, pattern(count))
          let arrivals = world.arrivals(sockets, 3)
          #expect(Set(arrivals.map(\.interface)) == Set(world.hosts.map { $0.interface.number }) && arrivals.count == 3)
          #expect(arrivals.allSatisfy { $0.bytes == pattern(count) && $0.destination.address == address })
        }
        let source = target.hasPrefix("10.9") ? "10.9.0.1" : "10.0.0.1"
        let frames = world.wire.takeCaptured().filter { $0.isV4 && $0.transport == 17 }
        #expect(
          frames.allSatisfy {
            $0.destination.bits == 0xffff_ffff_ffff && $0.bytes[26..<30] == RawPackets.octets(source)[...]
          })
        // Nobody answers that it is not bound.
        try world.send(0, to: address, port: 9, [1])
        world.run(seconds: 0.5)
        #expect(sockets.failures.isEmpty)
      }
    }
  }
}
