internal import CSocket
internal import Glibc
internal import LwipGlue
internal import NetcondRPC
internal import Slab
internal import UringLoop

/// Bytes that an app hands over in shared memory (netcond_arena.h): through the pair go markers, among what other writers
/// send there. So such a pair is read by plain calls that tell markers from bytes, and the ring only polls it.
extension Daemon {
  /// Gives a connection shared send memory. EAGAIN: a receive that waits, and knows no markers, is being cancelled.
  func openArena(_ socket: UnsafeMutablePointer<Socket>, _ key: SlabKey) -> Int32 {
    guard let arenas, socket.pointee.state == .connected, socket.pointee.host == nil, !socket.pointee.sendsUrgent,
      !socket.pointee.appEnded, let connection = socket.pointee.connection, stack.takesLargeSegments(connection)
    else { return EOPNOTSUPP }
    if socket.pointee.arena == nil {
      socket.pointee.arena = arenas.make(wideBytes: Pair.connectedSendBufferBytes, mayKeep: { !isReserved($0) })
      guard socket.pointee.arena != nil else { return ENFILE }
      if socket.pointee.operations.contains(.receive) {
        ring.prepareCancel(socketToken(key, Operation.receive), token: cancelToken)
      } else {
        armReceive(key, socket)
      }
    }
    return socket.pointee.operations.contains(.receive) ? EAGAIN : 0
  }

  /// Reads a pair that may hold markers, as far as the connection takes bytes.
  func receiveMarked(_ key: SlabKey, _ socket: UnsafeMutablePointer<Socket>, _ connection: SlabKey) {
    guard socket.pointee.isReadable || socket.pointee.sendsUrgent else { return pollReadable(key, socket) }
    var total = 0
    while total < Self.turnBytes, socket.pointee.pending == nil {
      let space = stack.sendSpace(connection)
      guard space >= stack.sendThreshold(connection) else { return }  // a `sent` event comes here again
      guard let buffer = sendPool.acquire() else {
        stack.flush(connection)
        return starved.append(key)
      }
      let address = sendPool.address(buffer)
      var isMarked: Int32 = 0
      let capacity = stack.chunkBytes(connection, upTo: Self.streamReceiveBytes)
      let received = nc_receive_marked(socket.pointee.fd, address, capacity, &isMarked)
      guard received > 0 else {
        sendPool.release(buffer)
        socket.pointee.isReadable = false
        stack.flush(connection)
        if received == -Int(EAGAIN) { return pollReadable(key, socket) }
        return failReceive(key, socket, Int32(received))
      }
      total += received
      let plain = received - (isMarked != 0 ? 1 : 0)
      let block = address.load(fromByteOffset: received - 1, as: UInt8.self)
      if plain > 0 { forward(socket, address, count: plain, more: true) } else { sendPool.release(buffer) }
      if isMarked != 0 {
        guard let bytes = takeBlock(block, of: socket) else { return resetConnection(key, socket) }
        total += bytes.count
        if socket.pointee.pending == nil {
          forward(socket, bytes.address, count: bytes.count, more: true)
        } else {
          socket.pointee.pendingBlock = bytes
        }
      }
      if socket.pointee.sendsUrgent {
        stack.flush(connection)
        return armReceive(key, socket)
      }
    }
    if socket.pointee.pending == nil { pollReadable(key, socket) }  // others have their turn
  }

  private func takeBlock(
    _ block: UInt8, of socket: UnsafeMutablePointer<Socket>
  ) -> (address: UnsafeRawPointer, count: Int)? {
    guard let arena = socket.pointee.arena, let bytes = arenas?.take(arena, block: block, now: now) else {
      log.error("socket \(socket.pointee.id): a marker of shared memory without sense; the connection is reset")
      count(\.protocolErrors)
      return nil
    }
    return bytes
  }

  private func pollReadable(_ key: SlabKey, _ socket: UnsafeMutablePointer<Socket>) {
    socket.pointee.isReadable = false
    guard !socket.pointee.operations.contains(.readable) else { return }
    socket.pointee.operations.insert(.readable)
    ring.preparePoll(socket.pointee.fd, events: Int16(POLLIN), token: socketToken(key, Operation.readable))
  }

  /// The socket is over: no marker will be read any more.
  func releaseArena(_ socket: UnsafeMutablePointer<Socket>) {
    if let (address, _) = socket.pointee.pendingBlock {
      sendMemory.release(holding: address)
      socket.pointee.pendingBlock = nil
    }
    guard let arena = socket.pointee.arena else { return }
    socket.pointee.arena = nil
    arenas?.disown(arena)
  }
}

/// What apps' bytes lie in, as the stack sees it: the pool that pairs are read into, and shared memory.
final class SendBuffers: SendMemory {
  private let pool: BufferPool
  private let arenas: ArenaTable?

  init(pool: BufferPool, arenas: ArenaTable?) {
    self.pool = pool
    self.arenas = arenas
  }

  /// Slow peers must not pin all buffers: the last quarter only passes through, and bytes are copied out of it.
  var isScarce: Bool { pool.freeCount < pool.bufferCount / 4 }

  /// Whether bytes may stay where they are until they are acknowledged. Arenas have bounds of their own.
  func mayHold(_ address: UnsafeRawPointer) -> Bool { !isScarce || arenas?.contains(address) == true }

  func contains(_ address: UnsafeRawPointer) -> Bool {
    pool.index(holding: address) != nil || arenas?.contains(address) == true
  }

  func retain(holding address: UnsafeRawPointer) {
    if let index = pool.index(holding: address) {
      pool.retain(index)
    } else if let arenas, arenas.contains(address) {
      arenas.retain(holding: address)
    }
  }

  func release(holding address: UnsafeRawPointer) {
    if let index = pool.index(holding: address) {
      pool.release(index)
    } else if let arenas, arenas.contains(address) {
      arenas.release(holding: address)
    }
  }
}
