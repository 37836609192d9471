internal import DequeModule
public import Frames

/// A learning Ethernet switch inside the daemon (`hub:NAME`): networks on one hub reach each other, without privileges.
///
/// Theory of operation: a port's frame is not delivered from inside `transmit` (that would enter one TCP connection from
/// inside another) but queued, by reference, and delivered when the loop polls. The hub learns the port of each source
/// address and floods what it does not know (IEEE 802.1D section 7.8). Frames stay in the sender's memory; since more
/// than one may read them, they are never exclusive. Unfinished checksums and 64 KiB super-segments pass as they are:
/// nothing between two ports could damage or would have to cut them.
public final class Hub {
  /// As a switch's port queues, bounded: frames beyond are refused, and the sender's TCP waits.
  private static let queueLimit = 1024
  /// A flood of forged source addresses must not grow the table for ever.
  private static let tableLimit = 4096
  /// Frames delivered in one poll, so that a chatty pair cannot keep the loop from its completions.
  private static let pollBudget = 256

  public let name: String
  private var ports: [HubPort?] = []
  private var table: [MACAddress: Int] = [:]
  private var queue: Deque<(port: Int, frame: Frame)> = []
  private var refusedSomeone = false
  /// Of the loop that all ports are driven by.
  private var attention: LinkAttention?

  public init(name: String) { self.name = name }

  /// Adds a port.
  /// - Parameter mtu: of the network on it, in bytes.
  public func makePort(mtu: Int) -> HubPort {
    let number = ports.firstIndex { $0 == nil } ?? ports.endIndex
    let port = HubPort(hub: self, number: number, mtu: mtu)
    if number < ports.endIndex { ports[number] = port } else { ports.append(port) }
    return port
  }

  fileprivate func accept(_ frame: Frame, from port: Int) -> Bool {
    guard queue.count < Self.queueLimit else {
      refusedSomeone = true
      return false
    }
    frame.retain()
    queue.append((port, frame))
    attention?.isWanted = true
    return true
  }

  fileprivate func start(_ attention: LinkAttention) { self.attention = attention }

  fileprivate var isPending: Bool { !queue.isEmpty }

  fileprivate func deliver() {
    var budget = Self.pollBudget
    while budget > 0, let (port, frame) = queue.popFirst() {
      budget -= 1
      forward(frame, from: port)
      frame.release()
    }
    if refusedSomeone, queue.count < Self.queueLimit / 2 {
      refusedSomeone = false
      for case let port? in ports { port.becomeReady() }
    }
    if isPending { attention?.isWanted = true }
  }

  private func forward(_ frame: Frame, from origin: Int) {
    guard let base = frame.head.baseAddress, frame.head.count >= 14 else { return }
    let destination = MACAddress(reading: base)
    let source = MACAddress(reading: base + 6)
    if !source.isGroup, table[source] != origin, table.count < Self.tableLimit || table[source] != nil {
      table[source] = origin
    }
    if !destination.isGroup, let port = table[destination] {
      if port != origin { ports[port]?.deliver(frame) }
    } else {
      for case let port? in ports where port.number != origin { port.deliver(frame) }
    }
  }

  /// What the port has sent is still delivered; its number may be another's then, who does not get it.
  fileprivate func forget(_ port: HubPort) {
    guard ports[port.number] === port else { return }
    table = table.filter { $0.value != port.number }
    ports[port.number] = nil
  }
}

/// One network's place on a hub.
public final class HubPort: Link {
  fileprivate let number: Int
  private let hub: Hub
  private unowned var delegate: (any LinkDelegate)?
  public private(set) var facts: LinkFacts
  public private(set) var counters = LinkCounters()
  public var name: String { "hub:\(hub.name)" }
  public var keepsFrames: Bool { true }

  fileprivate init(hub: Hub, number: Int, mtu: Int) {
    self.hub = hub
    self.number = number
    facts = LinkFacts(mtu: mtu, offloads: .all, isUp: false)
  }

  public func start(_ context: LinkContext, delegate: any LinkDelegate) {
    self.delegate = delegate
    hub.start(context.attention)
    facts.isUp = true
  }

  public func transmit(_ frame: Frame) -> Bool {
    guard facts.isUp, hub.accept(frame, from: number) else { return false }
    counters.sentFrames += 1
    counters.sentBytes += UInt64(frame.bytes)
    return true
  }

  /// Any port's poll moves the whole hub: the first of a turn does the work, the others find the queue empty.
  public func poll() { hub.deliver() }
  public var isPending: Bool { hub.isPending }

  public func stop() {
    facts.isUp = false
    hub.forget(self)
  }

  fileprivate func deliver(_ frame: Frame) {
    guard facts.isUp, let delegate else {
      counters.dropped += 1
      return
    }
    counters.receivedFrames += 1
    counters.receivedBytes += UInt64(frame.bytes)
    delegate.link(self, received: frame)
  }

  fileprivate func becomeReady() { delegate?.linkReady(self) }
}
