internal import CSocket
internal import Glibc
internal import NetcondRPC
internal import Slab

/// The last of a socket: what it still has to tell the app, by the way in which its pair is closed.
extension Daemon {
  /// Ends a socket that is closing, once nothing is under way on it any more.
  func finishClosing(_ key: SlabKey, _ socket: UnsafeMutablePointer<Socket>) {
    guard socket.pointee.operations.isEmpty, socket.pointee.host?.isBusy != true else { return }
    if let host = socket.pointee.host { finishOutside(host) }
    let error = socket.pointee.appError
    guard error != 0, !Pair.isHungUp(socket.pointee.fd), error != ECONNRESET || !hasUnread(socket) else {
      return forget(key, socket)
    }
    // Perhaps not accepted yet, and thus nobody's: what accept() takes out first still lies in the pair, or more.
    let isWaiting = socket.pointee.isOffered && nc_unread_memory(socket.pointee.fd) > 0
    socket.pointee.operations.insert(.search)
    appEnds.ask(
      AppEnds.Request(
        socket: key, inode: socket.pointee.appInode, process: socket.pointee.appProcess, searchesAll: !isWaiting))
  }

  /// Makes apps' ends report the errors of closing sockets, as they are found.
  func searchAppEnds() {
    guard let deadline = appEnds.deadline, deadline <= now else { return }
    let answers = appEnds.advance { request in
      sockets.pointer(request.socket).map { Pair.isHungUp($0.pointee.fd) } ?? true
    }
    for (request, end) in answers {
      guard let socket = sockets.pointer(request.socket) else {
        if let end { close(end) }
        continue
      }
      socket.pointee.operations.remove(.search)
      if let end {
        tell(socket.pointee.appError, to: end)
        close(end)
      } else if !request.searchesAll, !isEnding, !Pair.isHungUp(socket.pointee.fd) {
        unacceptedResets.append(request.socket)
        retryLater()
        continue
      }
      forget(request.socket, socket)
    }
  }

  /// Makes the app's end report `error` when the daemon's is closed next.
  private func tell(_ error: Int32, to end: Int32) {
    // The kernel will say ECONNRESET; the library knows better then (docs/rpc.md, "Names").
    if error != ECONNRESET { nc_add_marks(end, error << Int32(NC_MARK_ERROR_SHIFT)) }
    var byte: UInt8 = 0
    send(end, &byte, 1, Int32(MSG_DONTWAIT) | Int32(MSG_NOSIGNAL))
  }

  private func forget(_ key: SlabKey, _ socket: UnsafeMutablePointer<Socket>) {
    closePair(socket.pointee.fd)
    _ = sockets.remove(key)
  }
}
