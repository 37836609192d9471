import Glibc
import Links
@testable import LwipGlue
import Slab
import Testing

/// One end of a connection, with an app that writes and reads.
final class Peer {
  unowned let world: World
  let owner: UInt64
  fileprivate(set) var key: SlabKey
  private(set) var isEstablished = false
  /// The peer's FIN came.
  private(set) var isEnded = false
  /// Set when the connection is gone: 0 or an errno.
  private(set) var error: Int32?
  private(set) var received: [UInt8] = []
  /// Whether the stack may refer to the buffers of what is written, or must copy.
  var mayHold = true
  /// Whether the stack is told of all that is written that there is more.
  var announcesMore = false
  /// Whether the app reads.
  var reads = true { didSet { read() } }
  private var outgoing: [UInt8] = []
  private(set) var sentBytes = 0
  private var endsAfterSending = false
  private var chunk: (base: UnsafeMutableRawPointer, offset: Int, count: Int)?

  init(_ world: World, owner: UInt64, key: SlabKey) {
    self.world = world
    self.owner = owner
    self.key = key
  }

  var stack: Stack { world.stack }
  var isSent: Bool { sentBytes == outgoing.count }
  var isOver: Bool { error != nil }

  /// The app writes; with `end`, it shuts its side down behind that.
  func send(_ bytes: [UInt8], end: Bool = false) {
    outgoing += bytes
    endsAfterSending = end
    push()
  }

  func send(_ text: String, end: Bool = false) { send(Array(text.utf8), end: end) }
  var text: String { String(decoding: received, as: UTF8.self) }

  func abort() {
    stack.abort(key)
    forget()
  }

  func close() {
    stack.close(key)
    forget()
  }

  private func forget() {
    world.peers[owner] = nil
    dropChunk()
  }

  func dropChunk() {
    if let chunk { world.memory.release(holding: chunk.base) }
    chunk = nil
  }

  func handle(_ events: StackEvents) {
    if events.contains(.established) { isEstablished = true }
    if events.contains(.endOfStream) { isEnded = true }
    if events.contains(.failed) {
      error = stack.error(of: key)
      dropChunk()
    }
    if !events.isDisjoint(with: [.received, .failed]) { read() }
    if !events.isDisjoint(with: [.established, .sent]) { push() }
  }

  fileprivate func begin() { isEstablished = true }

  private func read() {
    guard reads else { return }
    withUnsafeTemporaryAllocation(of: iovec.self, capacity: 64) { vectors in
      vectors.initialize(repeating: iovec())
      while stack.receivedBytes(key) > 0 {
        let (count, bytes) = stack.gather(key, into: vectors)
        for vector in vectors.prefix(count) {
          received.append(contentsOf: UnsafeRawBufferPointer(start: vector.iov_base, count: vector.iov_len))
        }
        stack.consume(key, bytes: bytes)
      }
    }
  }

  private func push() {
    guard isEstablished, error == nil else { return }
    while sentBytes < outgoing.count, stack.sendSpace(key) > 0 {
      var (base, offset, count) = chunk ?? fill()
      let taken = stack.write(key, base + offset, count: count - offset, mayHold: mayHold, more: announcesMore)
      offset += taken
      sentBytes += taken
      chunk = (base, offset, count)
      if offset == count { dropChunk() }
      if taken == 0 { return }
    }
    if endsAfterSending, isSent {
      endsAfterSending = false
      stack.shutdownSend(key)
    }
  }

  /// The app's next bytes in a buffer of their own.
  private func fill() -> (base: UnsafeMutableRawPointer, offset: Int, count: Int) {
    let base = world.memory.take()
    let count = min(ChunkMemory.chunkBytes, outgoing.count - sentBytes)
    outgoing.withUnsafeBytes { base.copyMemory(from: $0.baseAddress! + sentBytes, byteCount: count) }
    return (base, 0, count)
  }
}

/// A listening socket with what it accepted.
final class Service {
  unowned let world: World
  let key: SlabKey
  private(set) var accepted: [Peer] = []
  /// Whether accepted ends read at once.
  var reads = true
  var onAccept: (Peer) -> Void = { _ in }

  init(_ world: World, key: SlabKey) {
    self.world = world
    self.key = key
  }

  func accept(_ key: SlabKey) {
    let peer = world.makePeer(key)
    peer.begin()
    peer.reads = reads
    world.stack.setOwner(peer.owner, of: key)
    accepted.append(peer)
    onAccept(peer)
  }
}

extension World {
  fileprivate func makePeer(_ key: SlabKey) -> Peer {
    let peer = Peer(self, owner: nextOwner, key: key)
    nextOwner += 1
    peers[peer.owner] = peer
    return peer
  }

  /// Host `host` listens; on all its IPv4 addresses unless another is given.
  func listen(_ host: Int, port: UInt16 = 80, on address: IPAddress = .anyV4, v6Only: Bool = false) throws -> Service {
    let owner = nextOwner
    nextOwner += 1
    let key = try stack.listen(
      hosts[host].interface, on: Endpoint(address: address, port: port), v6Only: v6Only, owner: owner)
    let service = Service(self, key: key)
    services[owner] = service
    return service
  }

  /// Host `host` begins to connect.
  func connect(
    _ host: Int, to address: IPAddress, port: UInt16 = 80, from local: IPAddress = .anyV4, localPort: UInt16 = 0,
    options: ConnectionOptions = ConnectionOptions()
  ) throws -> Peer {
    let owner = nextOwner
    let key = try stack.connect(
      hosts[host].interface, from: Endpoint(address: local, port: localPort),
      to: Endpoint(address: address, port: port), owner: owner, noDelay: false, options: options)
    return makePeer(key)
  }

  /// A connection from host 0 to host 1, established at both ends.
  func connected(port: UInt16 = 80, address: IPAddress? = nil) throws -> (client: Peer, server: Peer) {
    let target = address ?? hosts[1].address()
    let service = try listen(1, port: port, on: target.isV6 ? .anyV6 : .anyV4)
    let client = try connect(0, to: target, port: port)
    #expect(run { client.isEstablished && service.accepted.count == 1 || client.isOver })
    return (client, try #require(service.accepted.first))
  }
}

/// Bytes that differ from place to place, the same for the same seed.
func pattern(_ count: Int, seed: UInt64 = 7) -> [UInt8] {
  var generator = SeededGenerator(seed)
  return [UInt8](unsafeUninitializedCapacity: count + 8) { buffer, initialized in
    let raw = UnsafeMutableRawBufferPointer(buffer)
    for offset in stride(from: 0, to: count, by: 8) {
      raw.storeBytes(of: generator.next(), toByteOffset: offset, as: UInt64.self)
    }
    initialized = count
  }
}

/// What `expect` prints of a transfer: lengths, and where the first wrong byte is.
func difference(_ received: [UInt8], from sent: [UInt8]) -> String? {
  if received == sent { return nil }
  let first = zip(received, sent).enumerated().first { $0.element.0 != $0.element.1 }?.offset
  return "\(received.count) bytes of \(sent.count), first difference at \(first.map(String.init) ?? "the end")"
}
