internal import Frames
internal import Glibc
internal import LwipGlue
internal import Slab

/// Two hosts of one stack, joined in memory, with established connections between them that idle.
final class ConnectedHosts: FrameSource {
  /// One host's way out.
  private final class Port: FrameTransmitter {
    /// nil while the hosts end: what their stack still sends goes nowhere.
    private weak var hosts: ConnectedHosts?
    let number: Int
    let keepsFrames = false

    init(_ hosts: ConnectedHosts, _ number: Int) {
      self.hosts = hosts
      self.number = number
    }

    func transmit(_ frame: Frame) -> Bool {
      hosts?.carry(frame, from: number)
      return true
    }
  }

  struct Packet {
    let target: Int
    let bytes: [UInt8]
    let offload: OffloadHeader
  }

  let isScarce = false
  let stack: Stack
  let connections: Int
  private let frames = FramePool(limit: 8192)
  private var ports: [Port] = []
  private var interfaces: [NetworkInterface] = []
  private var queue: [Packet] = []
  private var listeners: [SlabKey] = []
  private(set) var sentCount = 0
  /// The last segment of each handshake, to the listener: an acknowledgement that changes nothing when it comes again.
  private(set) var acknowledgements: [Packet] = []

  init(connections: Int) throws {
    self.connections = connections
    stack = Stack(frames: frames, sendMemory: nil)
    stack.setTime(nanoseconds: 1_000_000)
    stack.setTime(nanoseconds: WorkloadClock.nanoseconds)
    for number in 0...1 {
      let port = Port(self, number)
      guard let address = IPAddress("10.9.0.\(number + 1)"),
        let interface = stack.makeInterface(
          name: "host\(number)", mac: MACAddress(bits: 0x0200_0000_0011 + UInt64(number)), mtu: 1500, offloads: true,
          addresses: [InterfaceAddress(address: address, prefixBits: 24)], routes: [], transmitter: port)
      else { throw WorkloadError("no interface") }
      ports.append(port)
      interfaces.append(interface)
    }
    try connect()
  }

  private func connect() throws {
    // To one port there are as many connections as there are ephemeral ports.
    let servers = (7...10).map { Endpoint(address: interfaces[1].addresses[0].address, port: $0) }
    listeners = try servers.map { try stack.listen(interfaces[1], on: $0, v6Only: false, owner: 1) }
    let any = Endpoint(address: .anyV4, port: 0)
    for number in 0..<connections {
      let server = servers[number % servers.count]
      _ = try stack.connect(interfaces[0], from: any, to: server, owner: 2, noDelay: true)
      if number % 64 == 63 || number == connections - 1 { settle() }
    }
    // What waits for an acknowledgement that is delayed, or for address resolution, has its turn.
    for _ in 0..<40 where established < connections || stack.hasUnacknowledged {
      tick()
      settle()
    }
    guard established == connections, stack.connectionCount == 2 * connections,
      acknowledgements.count >= connections
    else {
      throw WorkloadError("\(established) of \(connections) connections, \(acknowledgements.count) handshakes' ends")
    }
  }

  private var established = 0

  /// Delivers, and takes events, until nothing is under way.
  func settle() {
    repeat {
      let batch = queue
      queue = []
      for packet in batch { deliver(packet) }
      while let event = stack.nextEvent() {
        if case .connection(_, owner: 2, let events) = event, events.contains(.established) { established += 1 }
      }
    } while !queue.isEmpty
  }

  /// One tick of lwIP's faster timer later.
  func tick() {
    WorkloadClock.nanoseconds += 50_000_000
    stack.setTime(nanoseconds: WorkloadClock.nanoseconds)
    stack.runTimers()
  }

  private func carry(_ frame: Frame, from port: Int) {
    sentCount += 1
    var bytes: [UInt8] = []
    bytes.reserveCapacity(frame.bytes)
    for index in 0..<frame.count {
      bytes += UnsafeRawBufferPointer(start: frame.vectors[index].iov_base, count: frame.vectors[index].iov_len)
    }
    let packet = Packet(target: 1 - port, bytes: bytes, offload: frame.offload)
    queue.append(packet)
    // IPv4 without options, TCP, flags ACK alone: 14 + 20 bytes before the TCP header, whose byte 13 has the flags.
    if port == 0, bytes.count > 47, bytes[12] == 8, bytes[23] == 6, bytes[47] == 0x10 {
      acknowledgements.append(packet)
    }
  }

  func deliver(_ packet: Packet) {
    guard let frame = frames.make(source: self) else { return }
    packet.bytes.withUnsafeBytes { bytes in
      guard let base = bytes.baseAddress else { return }
      frame.offload = packet.offload
      // Short frames are copied before `receive` returns, and nobody writes to what a frame refers to.
      _ = frame.append(UnsafeMutableRawPointer(mutating: base), count: bytes.count)
      interfaces[packet.target].receive(frame)
    }
    frame.release()
  }

  func frameReleased(_ frame: Frame) {}

  deinit {
    for listener in listeners { stack.closeListener(listener) }
    stack.abortAll()
    queue = []
    while stack.nextEvent() != nil {}
    stack.close()
  }
}

/// A segment enters the stack, finds its connection among many, and changes nothing.
final class SegmentLookup: Workload {
  private let hosts: ConnectedHosts
  private let sentBefore: Int
  private var position = 0

  init(connections: Int) throws {
    hosts = try ConnectedHosts(connections: connections)
    sentBefore = hosts.sentCount
  }

  func run(_ count: Int) {
    for _ in 0..<count {
      hosts.deliver(hosts.acknowledgements[position])
      // A stride without a common factor: no two in a row are neighbours in memory.
      position = (position + 7919) % hosts.acknowledgements.count
    }
  }

  func verify() throws {
    // A segment that found no connection would have been answered by RST.
    guard hosts.sentCount == sentBefore, hosts.stack.connectionCount == 2 * hosts.connections else {
      throw WorkloadError(
        "\(hosts.sentCount - sentBefore) answers; \(hosts.stack.connectionCount) connections are left")
    }
  }
}

/// The timers' tick while connections idle.
final class TimerTick: Workload {
  private let hosts: ConnectedHosts

  init(connections: Int) throws { hosts = try ConnectedHosts(connections: connections) }

  func run(_ count: Int) { for _ in 0..<count { hosts.tick() } }

  func verify() throws {
    guard hosts.stack.connectionCount == 2 * hosts.connections else {
      throw WorkloadError("\(hosts.stack.connectionCount) of \(2 * hosts.connections) connections are left")
    }
  }
}
