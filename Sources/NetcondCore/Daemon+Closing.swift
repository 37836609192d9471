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
    searchAppEnd(key, socket, for: .error, everywhere: !isWaiting)
  }

  /// Has the app's end looked for. What is to be done with it, `searchAppEnds` does.
  func searchAppEnd(
    _ key: SlabKey, _ socket: UnsafeMutablePointer<Socket>, for purpose: AppEnds.Request.Purpose,
    everywhere: Bool = true
  ) {
    appEnds.ask(
      AppEnds.Request(
        socket: key, purpose: purpose, inode: socket.pointee.appInode, process: socket.pointee.appProcess,
        searchesAll: everywhere))
  }

  /// Does to apps' ends what they are looked for, as they are found.
  func searchAppEnds() {
    guard let deadline = appEnds.deadline, deadline <= now else { return }
    for (request, end) in appEnds.advance(isOver: isOver) {
      defer { if let end { close(end) } }
      guard let socket = sockets.pointer(request.socket) else { continue }
      switch request.purpose {
      case .error: finishSearch(request, socket, end)
      case .sendBuffer:
        if let end, !isOver(request) { Pair.setSendBuffer(end, socket.pointee.options.pairSendBufferBytes) }
      }
    }
  }

  private func isOver(_ request: AppEnds.Request) -> Bool {
    guard let socket = sockets.pointer(request.socket), !Pair.isHungUp(socket.pointee.fd) else { return true }
    // With an arena, the library sees to the send buffer.
    return request.purpose == .sendBuffer && (socket.pointee.state != .connected || socket.pointee.arena != nil)
  }

  private func finishSearch(_ request: AppEnds.Request, _ socket: UnsafeMutablePointer<Socket>, _ end: Int32?) {
    socket.pointee.operations.remove(.search)
    if let end {
      tell(socket.pointee.appError, to: end)
    } else if !Pair.isHungUp(socket.pointee.fd) {
      guard request.searchesAll || isEnding else {
        unacceptedResets.append(request.socket)
        return retryLater()
      }
      reportUntold(socket)
    }
    forget(request.socket, socket)
  }

  private func reportUntold(_ socket: UnsafeMutablePointer<Socket>) {
    if counters.untoldErrors == 0 {
      log.warning(
        "socket \(socket.pointee.id) of process \(socket.pointee.appProcess) ended by an error, which its program takes for an orderly end: it was not found in a process that this daemon may trace (same user, or CAP_SYS_PTRACE); the counter errorsUntold tells of more"
      )
    }
    count(\.untoldErrors)
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
