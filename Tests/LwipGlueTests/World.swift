import Frames
import Glibc
@testable import LwipGlue
import Links
import Slab
import Testing

/// Every test that makes a `Stack` is in here: lwIP's state is global, so there is one stack at a time in a process.
@Suite(.serialized, .enabled(if: isSourceBuild, "the packaged lwIP has a clock of its own, which no test can move"))
struct StackTests {}

/// Whether lwIP is built from source: hooks, windows beyond 64 KiB, super-segments.
let isSourceBuild = Stack.isSourceBuild

/// A host of the test: an interface on a medium.
final class Host: FrameTransmitter {
  let port: Int
  private let medium: any Medium
  fileprivate(set) var interface: NetworkInterface!
  private let stack: Stack

  init(port: Int, medium: any Medium, stack: Stack) {
    self.port = port
    self.medium = medium
    self.stack = stack
  }

  var keepsFrames: Bool { medium.keepsFrames }
  func transmit(_ frame: Frame) -> Bool { medium.transmit(frame, from: port) }
  /// Its address number `index`.
  func address(_ index: Int = 0) -> IPAddress { interface.addresses[index].address }
}

/// The apps' buffers: 64 KiB each, counted by reference.
final class ChunkMemory: SendMemory {
  var isScarce: Bool { false }
  static let chunkBytes = 65_536
  private let count: Int
  private let base: UnsafeMutableRawPointer
  private var references: [Int]
  private var free: [Int]
  private(set) var retainCount = 0
  private(set) var releaseCount = 0

  init(count: Int = 1024) {
    self.count = count
    base = .allocate(byteCount: count * Self.chunkBytes, alignment: 4096)
    references = Array(repeating: 0, count: count)
    free = Array((0..<count).reversed())
  }
  deinit { base.deallocate() }

  private func index(_ address: UnsafeRawPointer) -> Int? {
    let offset = address - UnsafeRawPointer(base)
    return offset >= 0 && offset < count * Self.chunkBytes ? offset / Self.chunkBytes : nil
  }

  /// A buffer with one reference.
  func take() -> UnsafeMutableRawPointer {
    guard let index = free.popLast() else { preconditionFailure("the test's buffers are used up") }
    references[index] = 1
    return base + index * Self.chunkBytes
  }

  /// References to the buffer that holds `address`.
  func references(to address: UnsafeRawPointer) -> Int { index(address).map { references[$0] } ?? 0 }
  var usedCount: Int { count - free.count }

  func contains(_ address: UnsafeRawPointer) -> Bool { index(address) != nil }

  func retain(holding address: UnsafeRawPointer) {
    guard let index = index(address) else { return }
    if references[index] == 0 { Issue.record("a free buffer is retained") }
    references[index] += 1
    retainCount += 1
  }

  func release(holding address: UnsafeRawPointer) {
    guard let index = index(address) else { return }
    guard references[index] > 0 else {
      Issue.record("a buffer is released more often than retained")
      return
    }
    references[index] -= 1
    releaseCount += 1
    if references[index] == 0 { free.append(index) }
  }
}

/// Hosts, what joins them, and a clock that only the test moves.
final class World {
  /// lwIP's timers outlive a stack, so the clock of all tests is one and never goes back.
  nonisolated(unsafe) static var nanoseconds: UInt64 = 5_000_000_000

  let frames = FramePool(limit: 8192)
  let memory = ChunkMemory()
  let stack: Stack
  let medium: any Medium
  private(set) var hosts: [Host] = []
  var peers: [UInt64: Peer] = [:]
  var services: [UInt64: Service] = [:]
  var nextOwner: UInt64 = 1

  var now: UInt64 { Self.nanoseconds }
  var wire: Wire { medium as! Wire }

  /// Runs `body` in a world whose hosts have `addresses`; afterwards nothing may be left of what it used.
  static func with<Result>(
    _ addresses: [[String]] = [["10.0.0.1/24"], ["10.0.0.2/24"]], style: Wire.Style = .bridge, faults: Faults = .none,
    mtu: Int = 1500, gateways: [String] = [], _ body: (World) throws -> Result
  ) throws -> Result {
    try with(addresses, mtu: mtu, gateways: gateways, medium: { Wire(style, frames: $0, faults: faults) }, body)
  }

  static func with<Result>(
    _ addresses: [[String]], mtu: Int = 1500, gateways: [String] = [], medium: (FramePool) throws -> any Medium,
    _ body: (World) throws -> Result
  ) throws -> Result {
    let world = try World(addresses, mtu: mtu, gateways: gateways, medium: medium)
    defer { world.close() }
    return try body(world)
  }

  private init(
    _ addresses: [[String]], mtu: Int, gateways: [String], medium: (FramePool) throws -> any Medium
  ) throws {
    self.medium = try medium(frames)
    stack = Stack(frames: frames, sendMemory: memory)
    stack.setTime(nanoseconds: 1_000_000)
    stack.setTime(nanoseconds: Self.nanoseconds)
    for (port, texts) in addresses.enumerated() {
      let host = Host(port: port, medium: self.medium, stack: stack)
      self.medium.attach(host)
      host.interface = makeInterface(
        host, mtu: mtu, texts.map { InterfaceAddress(cidr: $0) },
        routes: gateways.compactMap { IPAddress($0) }.map { Route.byDefault(via: $0) })
      hosts.append(host)
    }
  }

  private func makeInterface(
    _ host: Host, mtu: Int, _ addresses: [InterfaceAddress], routes: [Route]
  ) -> NetworkInterface? {
    stack.makeInterface(
      name: "host\(host.port)", mac: MACAddress(bits: 0x0200_0000_0001 + UInt64(host.port)), mtu: mtu,
      offloads: medium.offloads, addresses: addresses, routes: routes, transmitter: host)
  }

  /// A host's interface goes, and comes again with the same address.
  func replaceInterface(of port: Int) {
    let host = hosts[port]
    let former = host.interface!
    stack.remove(former)
    host.interface = makeInterface(
      host, mtu: former.mtu, former.addresses.filter { !$0.address.isLoopback }, routes: [])
  }

  private func close() {
    for key in stack.listeners.keys { stack.closeListener(key) }
    for key in stack.connections.keys { stack.abort(key) }
    for peer in peers.values { peer.dropChunk() }
    medium.clear()
    while stack.nextEvent() != nil {}
    stack.close()
    medium.clear()
    #expect(stack.connectionCount == 0)
    #expect(frames.liveCount == 0, "frames are lost")
    #expect(memory.usedCount == 0, "buffers of apps are lost")
    if let wire = medium as? Wire { #expect(wire.lentBuffers == 0, "receive buffers are lost") }
  }

  // MARK: Time

  /// One turn, in the daemon's order.
  func turn() {
    stack.setTime(nanoseconds: now)
    medium.deliver(now: now)
    takeEvents()
    stack.runTimers()
    takeEvents()
    stack.pollLoopback()
    takeEvents()
  }

  /// Turns until `isDone`, moving the clock to whatever is due next; false when `seconds` of its time have passed.
  @discardableResult
  func run(seconds: Double = 60, until isDone: () -> Bool = { false }) -> Bool {
    let end = now + UInt64(seconds * 1e9)
    let frameLimit = medium.deliveredCount + 1_000_000
    while true {
      turn()
      if isDone() { return true }
      guard medium.deliveredCount < frameLimit else {
        Issue.record("frames without end: the hosts answer each other for ever")
        medium.clear()
        return false
      }
      if stack.hasEvents || stack.hasLoopback { continue }
      var next = end
      if let due = medium.nextDue { next = min(next, due) }
      if let timer = stack.nextTimerMilliseconds { next = min(next, now + UInt64(max(1, timer)) * 1_000_000) }
      guard next < end else {
        Self.nanoseconds = end
        turn()
        return isDone()
      }
      Self.nanoseconds = max(now, next)
    }
  }

  func takeEvents() {
    while let event = stack.nextEvent() {
      switch event {
      case .connection(let key, let owner, let events):
        guard let peer = peers[owner], peer.key == key else {
          Issue.record("news of a connection that nobody was told of: owner \(owner), events \(events.rawValue)")
          continue
        }
        peer.handle(events)
      case .accepted(let key, let owner):
        guard let service = services[owner] else {
          Issue.record("a connection for no listener")
          continue
        }
        service.accept(key)
      }
    }
  }
}

extension Host: LinkDelegate {
  func link(_ link: any Link, received frame: Frame) { interface.receive(frame) }
  func linkChanged(_ link: any Link) {}
  func linkReady(_ link: any Link) { stack.linkReady() }
}

extension InterfaceAddress {
  /// From CIDR's text; a test's mistake traps.
  init(cidr: String) {
    let parts = cidr.split(separator: "/").map(String.init)
    self.init(address: IPAddress(parts[0])!, prefixBits: Int(parts[1])!)
  }
}
