import Frames
import Glibc
@testable import LwipGlue
import Testing

extension StackTests {
  /// A router speaks of what host 0 sent.
  @Suite struct ICMPErrors {
    private static let hosts = [["10.0.0.1/24", "fd00::1/64"], ["10.0.0.2/24", "fd00::2/64"]]

    /// A UDP datagram as host 0 sent it to a far host, for a quote.
    private func quote(_ isV6: Bool, _ payload: [UInt8] = pattern(20)) -> [UInt8] {
      RawPackets.udp(
        to: RawPackets.stranger, from: isV6 ? "fd00::1" : "10.0.0.1", to: isV6 ? "fd00::2" : "10.0.0.2", payload
      ).ipPacket
    }

    private func tell(_ world: World, _ isV6: Bool, _ type: UInt8, _ code: UInt8, word: UInt32 = 0, _ quote: [UInt8]) {
      let (router, own) = isV6 ? ("fd00::fe", "fd00::1") : ("10.0.0.254", "10.0.0.1")
      let frame = RawPackets.icmp(
        to: world.hosts[0].interface.mac, from: router, to: own, type: type, code: code, word: word, quote)
      world.wire.hand(frame, to: world.hosts[0])
    }

    /// net/ipv4/icmp.c: icmp_err_convert.
    private static let unreachableV4: [(Int32, Bool)] = [
      (ENETUNREACH, false), (EHOSTUNREACH, false), (ENOPROTOOPT, true), (ECONNREFUSED, true), (EMSGSIZE, true),
      (EOPNOTSUPP, false), (ENETUNREACH, true), (EHOSTDOWN, true), (ENONET, true), (ENETUNREACH, true),
      (EHOSTUNREACH, true), (ENETUNREACH, false), (EHOSTUNREACH, false), (EHOSTUNREACH, true), (EHOSTUNREACH, true),
      (EHOSTUNREACH, true),
    ]
    /// net/ipv6/icmp.c: icmpv6_err_convert.
    private static let unreachableV6: [(Int32, Bool)] = [
      (ENETUNREACH, false), (EACCES, true), (EHOSTUNREACH, false), (EHOSTUNREACH, false), (ECONNREFUSED, true),
      (EACCES, true), (EACCES, true),
    ]

    @Test func `each type and code is Linux's errno`() throws {
      try World.with(Self.hosts) { world in
        let sockets = world.bind(4000)
        world.settle()
        var cases: [(Bool, UInt8, UInt8, Int32, Bool)] = [
          (false, 11, 0, EHOSTUNREACH, false), (false, 11, 1, EHOSTUNREACH, false), (false, 12, 0, EPROTO, true),
          (true, 3, 0, EHOSTUNREACH, false), (true, 4, 0, EPROTO, true), (true, 1, 9, EPROTO, true),
          (true, 2, 0, EMSGSIZE, true),
        ]
        cases += Self.unreachableV4.enumerated().map { (false, 3, UInt8($0), $1.0, $1.1) }
        cases += Self.unreachableV6.enumerated().map { (true, 1, UInt8($0), $1.0, $1.1) }
        for (isV6, type, code, error, isFatal) in cases {
          let told: UInt32 = error == EMSGSIZE ? (isV6 ? 1400 : 600) : 0
          tell(world, isV6, type, code, word: told, quote(isV6, pattern(1450)))
          let failure = try #require(sockets.takeFailures().first, "v6 \(isV6) type \(type) code \(code)")
          #expect(failure.error == error && failure.isFatal == isFatal, "v6 \(isV6) type \(type) code \(code)")
          #expect(failure.type == type && failure.code == code && failure.info == told)
          #expect(failure.teller == IPAddress(isV6 ? "fd00::fe" : "10.0.0.254"))
          #expect(failure.source == Endpoint(address: IPAddress(isV6 ? "fd00::1" : "10.0.0.1")!, port: 4000))
          #expect(failure.destination == Endpoint(address: IPAddress(isV6 ? "fd00::2" : "10.0.0.2")!, port: 5000))
          #expect(failure.bytes == pattern(1450))
        }
        for (type, code) in [(3, 16), (3, 255), (4, 0), (5, 0), (8, 0), (13, 0)] as [(UInt8, UInt8)] {
          tell(world, false, type, code, quote(false))
        }
        #expect(sockets.failures.isEmpty)
      }
    }

    @Test func `what host 0 cannot have sent is no error of its`() throws {
      try World.with(Self.hosts) { world in
        let sockets = world.bind(4000)
        world.settle()
        for isV6 in [false, true] {
          let (type, code): (UInt8, UInt8) = isV6 ? (1, 4) : (3, 3)
          let right = quote(isV6)
          let headerBytes = isV6 ? 40 : 20
          func changed(_ offset: Int, _ value: UInt8) -> [UInt8] {
            var bytes = right
            bytes[offset] = value
            return bytes
          }
          var wrong = (0..<(headerBytes + 8)).map { Array(right.prefix($0)) }  // cut short everywhere
          wrong.append(changed(headerBytes - 1 - (isV6 ? 16 : 4), 99))  // another's source
          wrong.append(changed(0, isV6 ? 0x45 : 0x60))  // the other family
          wrong.append(changed(isV6 ? 6 : 9, 99))  // no protocol of ours
          if isV6 {
            wrong.append(changed(6, 44))  // a fragment that its payload makes one in the middle
            wrong.append(changed(6, 0))  // hop by hop options without end
          } else {
            wrong.append(changed(0, 0x44))
            wrong.append(changed(0, 0x4f))
            wrong.append(changed(7, 9))  // not the first fragment
          }
          for bytes in wrong { tell(world, isV6, type, code, bytes) }
          #expect(sockets.takeFailures().isEmpty)
          // A checksum that is wrong.
          let host = world.hosts[0]
          var frame = RawPackets.icmp(
            to: host.interface.mac, from: isV6 ? "fd00::fe" : "10.0.0.254", to: isV6 ? "fd00::1" : "10.0.0.1",
            type: type, code: code, right)
          frame.bytes[frame.tcp + 12] ^= 1
          world.wire.hand(frame, to: host)
          #expect(sockets.failures.isEmpty)
          tell(world, isV6, type, code, right)
          #expect(sockets.takeFailures().count == 1)
        }
        #expect(world.stack.datagramCounters.strayErrors > 40)
        #expect(world.stack.datagramCounters.badChecksum == 2)
      }
    }

    @Test func `rubbish in quotes does no harm`() throws {
      try World.with(Self.hosts) { world in
        let sockets = world.bind(4000)
        world.settle()
        var generator = SeededGenerator(11)
        for round in 0..<4000 {
          let isV6 = round % 2 == 0
          var bytes = quote(isV6)
          for _ in 0..<Int.random(in: 1...6, using: &generator) {
            bytes[Int.random(in: 0..<bytes.count, using: &generator)] = UInt8.random(in: 0...255, using: &generator)
          }
          let cut = Int.random(in: 0...bytes.count, using: &generator)
          let type = UInt8.random(in: isV6 ? 1...4 : 3...12, using: &generator)
          tell(
            world, isV6, type, UInt8.random(in: 0...16, using: &generator),
            word: .random(in: 0...70_000, using: &generator), Array(bytes.prefix(cut)))
        }
        _ = sockets.takeFailures()
        for target in ["10.0.0.2", "fd00::2"] {
          #expect(world.hosts[0].interface.pathMTU(to: IPAddress(target)!) >= (target.contains(":") ? 1280 : 552))
          try world.send(1, to: world.hosts[0].address(target.contains(":") ? 1 : 0), port: 4000, pattern(3000))
          #expect(world.arrivals(sockets, 1).map(\.bytes) == [pattern(3000)])
        }
      }
    }

    @Test func `echo requests of a socket are answered, and their errors told`() throws {
      try World.with(Self.hosts) { world in
        let sockets = world.bind(77)
        world.settle()
        for (target, kind, request, reply) in [
          ("10.0.0.2", DatagramProtocol.icmp, UInt8(8), UInt8(0)), ("fd00::2", .icmpV6, 128, 129),
          ("127.0.0.1", .icmp, 8, 0), ("10.0.0.1", .icmp, 8, 0), ("fd00::1", .icmpV6, 128, 129),
        ] {
          for count in [0, 1, 56, 4000] {
            // The app's identifier and checksum are not its business.
            let message = [request, 0, 9, 9, 9, 9, 0, 3] + pattern(count)
            try world.send(0, to: IPAddress(target)!, port: 0, localPort: 77, message, kind: kind)
            let arrivals = world.arrivals(sockets, 1)
            #expect(arrivals.count == 1, "\(target) \(count)")
            #expect(arrivals.first?.kind == kind && arrivals.first?.destination.port == 77)
            #expect(arrivals.first?.source == Endpoint(address: IPAddress(target)!, port: 0))
            #expect(arrivals.first.map { [$0.bytes[0]] + $0.bytes[4...] } == [reply, 0, 77, 0, 3] + pattern(count))
          }
        }
        let quote = RawPackets.icmp(
          to: RawPackets.stranger, from: "10.0.0.1", to: "10.0.0.2", type: 8, code: 0, word: 77 << 16, pattern(8))
        tell(world, false, 11, 0, quote.ipPacket)
        let failure = try #require(sockets.takeFailures().first)
        #expect(failure.kind == .icmp && failure.source.port == 77 && failure.error == EHOSTUNREACH)
        #expect(throws: StackError(EINVAL)) {
          try world.send(0, to: IPAddress("10.0.0.2")!, port: 0, localPort: 77, [8, 0, 0, 0, 0, 0, 0], kind: .icmp)
        }
        #expect(throws: StackError(EINVAL)) {
          try world.send(
            0, to: IPAddress("10.0.0.2")!, port: 0, localPort: 77, Array(repeating: 0, count: 8), kind: .icmpV6)
        }
      }
    }

    @Test func `a smaller path MTU is heeded by datagrams`() throws {
      try World.with(Self.hosts) { world in
        let sockets = world.bind(5000)
        world.settle()
        for isV6 in [false, true] {
          let target = IPAddress(isV6 ? "fd00::2" : "10.0.0.2")!
          let (type, code): (UInt8, UInt8) = isV6 ? (2, 0) : (3, 4)
          tell(world, isV6, type, code, word: 1400, quote(isV6, pattern(1440)))
          #expect(world.hosts[0].interface.pathMTU(to: target) == 1400)
          tell(world, isV6, type, code, word: 0, quote(isV6, pattern(1440)))  // less than there can be
          #expect(world.hosts[0].interface.pathMTU(to: target) == (isV6 ? 1280 : 552))
          world.wire.isCapturing = true
          try world.send(0, to: target, pattern(1440))
          #expect(world.arrivals(sockets, 1).map(\.bytes) == [pattern(1440)])
          let frames = world.wire.takeCaptured().filter { $0.origin == 0 && !$0.isARP && $0.bytes.count > 200 }
          #expect(frames.allSatisfy { $0.ipPacketBytes <= (isV6 ? 1280 : 552) })
          var options = DatagramOptions()
          options.dontFragment = true
          #expect(throws: StackError(EMSGSIZE)) { try world.send(0, to: target, pattern(1300), options: options) }
          world.run(seconds: 601)
          #expect(world.hosts[0].interface.pathMTU(to: target) == 1500)
        }
      }
    }

    @Test(arguments: ["10.0.0.99", "fd00::99"]) func `a neighbour that does not answer is told of`(
      target: String
    ) throws {
      try World.with(Self.hosts) { world in
        let sockets = world.bind(4000)
        world.settle()
        let start = world.now
        let address = IPAddress(target)!
        try world.send(0, to: address, pattern(30))
        #expect(world.run(seconds: 10) { !sockets.failures.isEmpty })
        #expect((2_900_000_000...3_100_000_000).contains(world.now - start))
        let failure = try #require(sockets.takeFailures().first)
        #expect(failure.error == EHOSTUNREACH && !failure.isFatal && failure.bytes == pattern(30))
        #expect(failure.destination == Endpoint(address: address, port: 5000) && failure.source.port == 4000)
        #expect(failure.type == (address.isV6 ? 1 : 3) && failure.code == (address.isV6 ? 3 : 1))
        // One that answers is not.
        try world.send(0, to: world.hosts[1].address(address.isV6 ? 1 : 0), port: 4000, [1])
        #expect(world.arrivals(sockets, 1).count == 1)
        world.run(seconds: 5)
        #expect(sockets.takeFailures().isEmpty && world.stack.datagramCounters.silentNeighbours == 1)
      }
    }
  }
}
