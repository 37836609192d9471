import Frames
import Glibc
@testable import Links
import Testing
import UringLoop

private let mayMakeTaps = geteuid() == 0 && access("/dev/net/tun", R_OK | W_OK) == 0
/// Different in each process, so that two runs of the tests may go on at the same time.
private func uniqueName(_ letter: String) -> String { "t\(letter)\(getpid())" }
private func interfaceExists(_ name: String) -> Bool { if_nametoindex(name) != 0 }

@Suite(.enabled(if: mayMakeTaps, "needs root and /dev/net/tun"))
struct TapDeviceTests {
  @Test func `a tap exists as long as it is open`() throws {
    let name = uniqueName("a")
    do {
      let device = try TapDevice(name: name, wantsOffloads: true)
      let (fd, ownName) = (device.fd, device.name)
      #expect(ownName == name)
      #expect(interfaceExists(name))
      #expect(fcntl(fd, F_GETFD) == FD_CLOEXEC)
    }
    #expect(!interfaceExists(name))
  }

  @Test func `every kernel that is supported grants checksums and segmentation`() throws {
    let device = try TapDevice(name: uniqueName("b"), wantsOffloads: true)
    let offloads = device.offloads
    #expect(offloads == .all)
  }

  @Test func `without offloads wanted there are none`() throws {
    let device = try TapDevice(name: uniqueName("c"), wantsOffloads: false)
    let offloads = device.offloads
    #expect(offloads == [])
  }

  @Test func `the MTU can be set and read`() throws {
    let device = try TapDevice(name: uniqueName("d"), wantsOffloads: true)
    let before = device.readMTU()
    #expect(before == 1500)
    let isSet = device.setMTU(2800)
    #expect(isSet)
    let after = device.readMTU()
    #expect(after == 2800)
  }

  @Test func `the queue becomes long, and is left alone where it is longer`() throws {
    let device = try TapDevice(name: uniqueName("q"), wantsOffloads: true)
    let isLengthened = device.lengthenQueue()
    #expect(isLengthened)
    let length = device.readQueueLength()
    #expect(length == 16_384)
    let isLengthenedMore = device.lengthenQueue(to: 20_000)
    #expect(isLengthenedMore)
    let isLeftAlone = device.lengthenQueue()
    #expect(isLeftAlone)
    let longer = device.readQueueLength()
    #expect(longer == 20_000)
  }

  @Test func `a tap in use is busy, with a cure`() throws {
    let name = uniqueName("e")
    let device = try TapDevice(name: name, wantsOffloads: true)
    let error = #expect(throws: TapError.self) { _ = try TapDevice(name: name, wantsOffloads: true) }
    #expect(error?.cause.contains(name) == true)
    #expect(error?.cure.contains("another program") == true)
    _ = device.fd
  }

  @Test func `an interface that is no tap is refused by name and cause`() {
    let error = #expect(throws: TapError.self) { _ = try TapDevice(name: "lo", wantsOffloads: true) }
    #expect(error?.cause.contains("tap lo cannot be created or attached") == true)
    #expect(error?.cause.contains("Invalid argument") == true)
    #expect(error?.cure.contains("no TAP") == true)
    #expect(error?.description == "\(error?.cause ?? ""); \(error?.cure ?? "")")
  }

  @Test(.enabled(if: ringIsAvailable, "io_uring is not available here"))
  func `a stopped link's descriptor closes with it`() throws {
    let name = uniqueName("f")
    do {
      let link = try TapLink(name: name, mtu: 1400, wantsOffloads: true)
      #expect(link.name == "tap:\(name)")
      #expect(link.facts.mtu == 1400)
      #expect(!link.facts.isUp)
      #expect(!link.keepsFrames)
      #expect(interfaceExists(name))
    }
    #expect(!interfaceExists(name))
  }
}

/// The kernel's side of a tap in this network namespace, by a packet socket: what the link sends, the host sees.
@Suite(.enabled(if: mayMakeTaps && ringIsAvailable, "needs root, /dev/net/tun and io_uring"))
struct TapLinkTests {
  private let broadcast = MACAddress.broadcast

  /// Turns the loop until `isDone`; false after ten seconds.
  private func turn(_ loop: Loop, _ link: TapLink, until isDone: () -> Bool) -> Bool {
    for _ in 0..<200 {
      loop.ring.drain {
        link.complete(operation: $0.token.operation, detail: UInt32(truncatingIfNeeded: $0.token.owner), $0)
      }
      loop.pool.replenish()
      if loop.attention.take() { link.poll() }
      if isDone() { return true }
      loop.ring.submitAndWait(nanoseconds: 50_000_000)
    }
    return false
  }

  /// A packet socket for the experimental EtherType on `name`.
  private func packetSocket(_ name: String) throws -> Int32 {
    // Of no protocol before bind() names the interface: until then it would see those of others too.
    let fd = socket(AF_PACKET, Int32(SOCK_RAW.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
    // struct sockaddr_ll, packet(7): family, protocol and interface, in 20 bytes
    var address: (UInt16, UInt16, Int32, UInt64, UInt32) = (
      UInt16(AF_PACKET), UInt16(0x88b5).bigEndian, Int32(if_nametoindex(name)), 0, 0
    )
    let status = withUnsafeBytes(of: &address) {
      bind(fd, $0.baseAddress!.assumingMemoryBound(to: sockaddr.self), 20)
    }
    try #require(status == 0)
    return fd
  }

  @Test func `the kernel sees what the link sends, and the link what the kernel sends`() throws {
    let name = uniqueName("g")
    let loop = try Loop()
    let link = try TapLink(name: name, mtu: 1500, wantsOffloads: true)
    let delegate = Listener()
    link.start(loop.context(0), delegate: delegate)
    #expect(link.facts.isUp)
    let host = try packetSocket(name)
    defer { close(host) }
    let maker = FrameMaker(loop.frames)
    let frame = try maker.make(to: broadcast, from: .host(1), "from the link, padded to be no runt frame at all")
    #expect(link.transmit(frame))
    frame.release()
    #expect(turn(loop, link) { link.counters.sentFrames == 1 })
    #expect(maker.releasedCount == 1)
    var bytes = [UInt8](repeating: 0, count: 2048)
    let count = recv(host, &bytes, bytes.count, 0)
    #expect(String(decoding: bytes[14..<max(14, count)], as: UTF8.self).hasPrefix("from the link"))
    let answer = MACAddress.host(1).bytes + MACAddress.host(2).bytes + [0x88, 0xb5] + Array("from the kernel".utf8)
    #expect(send(host, answer, answer.count, 0) == answer.count)
    #expect(turn(loop, link) { delegate.received.contains("from the kernel") })
    link.stop()
  }

  @Test func `each frame is with the kernel, or dropped and counted, when transmit returns`() throws {
    let loop = try Loop()
    let link = try TapLink(name: uniqueName("h"), mtu: 1500, wantsOffloads: true)
    link.start(loop.context(0), delegate: Listener())
    let maker = FrameMaker(loop.frames)
    for _ in 0..<10_000 {
      let frame = try maker.make(to: broadcast, from: .host(1), "one of very many frames that are sent at one time")
      #expect(link.transmit(frame))
      frame.release()
      #expect(loop.frames.liveCount == 0)
    }
    #expect(link.counters.sentFrames + link.counters.dropped == 10_000)
    #expect(link.counters.sentFrames > 0)
    link.stop()
    let late = try maker.make(to: broadcast, from: .host(1), "sent after the end, which a link refuses to take")
    #expect(!link.transmit(late))
    late.release()
  }

  @Test(arguments: [Capabilities.Limit.newest, .baseline])
  func `a stopped link lets go of its device, which another may have`(limit: Capabilities.Limit) throws {
    let name = uniqueName(limit == .newest ? "s" : "t")  // the arguments' cases run at the same time
    let loop = try Loop(limit: limit)
    for _ in 0..<3 {
      let link = try TapLink(name: name, mtu: 1500, wantsOffloads: true)
      link.start(loop.context(0), delegate: Listener())
      loop.ring.submit()
      #expect(if_nametoindex(name) != 0)
      link.stop()
      #expect(turn(loop, link) { if_nametoindex(name) == 0 })
    }
  }
}
