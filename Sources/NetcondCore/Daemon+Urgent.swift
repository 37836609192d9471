internal import CSocket
internal import Glibc
internal import LwipGlue
internal import NetcondRPC
internal import Slab

/// Urgent data from the app (MSG_OOB). Unix stream sockets have it as TCP does, one byte beside the stream with a mark in it
/// (Linux 5.15); but a receive that waits at the mark drops the byte. So the library tells before a socket's first one
/// (docs/rpc.md, URGENT), and from then on the daemon waits for bytes with a poll, and looks for the mark before each receive,
/// which ends there.
extension Daemon {
  /// Prepares for urgent data. EAGAIN: a receive that waits is being cancelled; ask again.
  func expectUrgent(_ key: SlabKey, _ socket: UnsafeMutablePointer<Socket>) -> Int32 {
    guard socket.pointee.state == .connected, socket.pointee.host == nil else { return EOPNOTSUPP }
    let isFirst = !socket.pointee.sendsUrgent
    socket.pointee.sendsUrgent = true
    guard socket.pointee.operations.contains(.receive) else {
      armReceive(key, socket)
      return 0
    }
    if isFirst { ring.prepareCancel(socketToken(key, Operation.receive), token: cancelToken) }
    return EAGAIN
  }

  /// Hands an urgent byte at the mark to the stack. Returns whether there is something to receive; else a poll tells.
  func takeUrgent(_ key: SlabKey, _ socket: UnsafeMutablePointer<Socket>, _ connection: SlabKey) -> Bool {
    while nc_is_at_mark(socket.pointee.fd) != 0 {
      let byte = nc_take_urgent(socket.pointee.fd)
      guard byte >= 0 else { break }  // the mark of one that was taken
      stack.writeUrgent(connection, UInt8(byte))
    }
    if socket.pointee.isReadable {
      socket.pointee.isReadable = false
      return true
    }
    if !socket.pointee.operations.contains(.readable) {
      socket.pointee.operations.insert(.readable)
      ring.preparePoll(  // which adds POLLRDHUP
        socket.pointee.fd, events: Int16(POLLIN) | Int16(POLLPRI), token: socketToken(key, Operation.readable))
    }
    return false
  }
}
