internal import CSocket
internal import Glibc
internal import NetcondRPC
internal import Slab

/// Where sockets made ahead lie for one program and family.
struct Dispenser {
  /// How many are put there at once.
  static let batches = 4...64
  /// Refilled more slowly than this, the batches shrink.
  static let paceNanoseconds: UInt64 = 1_000_000_000

  /// The daemon's end.
  let fd: Int32
  var batch = batches.lowerBound
  var lastRefill: UInt64
}

/// TCP sockets made ahead: a program that makes one after another takes them from a queue in the kernel, without a request
/// (docs/rpc.md, "Sockets made ahead").
///
/// Theory of operation. A batch is put into the queue at a time. The first of a batch says that few are left: who takes it
/// asks for the next batch, while the rest of this one serves. Where the queue was found empty all the same, the program
/// asks for a socket in the ordinary way, and the batches grow. What nobody takes ends with the program, when the queue
/// goes and with it the apps' ends in it.
extension Daemon {
  /// Gives a program its end of a dispenser; nil with the reply's status set where there is no room.
  func openDispenser(
    _ request: nc_request, _ client: UnsafeMutablePointer<Client>, _ reply: inout nc_reply
  ) -> Int32? {
    let family = request.argument.0
    guard family == AF_INET || family == AF_INET6 else {
      reply.status = EAFNOSUPPORT
      return nil
    }
    let pair = Pair.make(type: Int32(SOCK_SEQPACKET.rawValue))
    guard pair.daemon >= 0, mayPrepare(pair.app) else {
      if pair.daemon >= 0 { Pair.close(pair) }
      reply.status = ENFILE
      return nil
    }
    if let former = client.pointee.dispenser(family: family) { close(former.fd) }
    client.pointee.setDispenser(Dispenser(fd: pair.daemon, lastRefill: now), family: family)
    refill(client, family: family)
    return pair.app
  }

  /// Puts a batch into a program's dispenser, unless many lie there.
  func refill(_ client: UnsafeMutablePointer<Client>, family: Int32) {
    guard var dispenser = client.pointee.dispenser(family: family),
      Pair.unreadRecords(daemon: dispenser.fd) < Dispenser.batches.upperBound
    else { return }
    if now - dispenser.lastRefill > Dispenser.paceNanoseconds {
      dispenser.batch = max(Dispenser.batches.lowerBound, dispenser.batch / 2)
    }
    dispenser.lastRefill = now
    client.pointee.setDispenser(dispenser, family: family)
    let network = networkTable[client.pointee.network]
    for index in 0..<dispenser.batch {
      guard mayPrepare(-1),
        let (key, appEnd) = makeStream(family: family, network: network, process: client.pointee.process),
        let socket = sockets.pointer(key)
      else { return }
      defer { close(appEnd) }
      socket.pointee.isPrepared = true
      preparedCount += 1
      var message = nc_prepared()
      message.magic = NC_RPC_MAGIC
      message.version = UInt16(NC_RPC_VERSION)
      message.flags = index == 0 ? UInt16(NC_PREPARED_LOW) : 0
      message.socket_id = socket.pointee.id
      // Not sent, the socket ends: nobody has its app's end.
      guard Descriptors.send(dispenser.fd, message, passing: appEnd) == 0 else { return }
    }
  }

  /// A program with a dispenser has asked for a socket: it had found nothing there.
  func noteDry(_ client: UnsafeMutablePointer<Client>, family: Int32) {
    guard var dispenser = client.pointee.dispenser(family: family), nc_unread_memory(dispenser.fd) == 0 else { return }
    dispenser.batch = min(dispenser.batch * 2, Dispenser.batches.upperBound)
    client.pointee.setDispenser(dispenser, family: family)
    refill(client, family: family)
  }

  /// The app has named the socket, or it is over.
  func notePreparedTaken(_ socket: UnsafeMutablePointer<Socket>) {
    guard socket.pointee.isPrepared else { return }
    socket.pointee.isPrepared = false
    preparedCount -= 1
  }

  /// Whether there is so much room that sockets may be made which perhaps nobody takes: they have a quarter of what is free,
  /// so that near a limit there are none. They are descriptors in flight as well, of which a user may have RLIMIT_NOFILE
  /// (unix(7)).
  /// - Parameter descriptor: one that was just made, the lowest that was free; or -1.
  private func mayPrepare(_ descriptor: Int32) -> Bool {
    let used = max(sockets.count + datagrams.count, Int(descriptor))
    let free = min(options.socketLimit, options.descriptorLimit) - used
    return !isEnding && preparedCount < min(1024, options.descriptorLimit / 8, free / 4)
  }
}
