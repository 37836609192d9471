internal import CSocket
internal import DequeModule
internal import Glibc
internal import NetcondRPC
internal import Slab

/// Where sockets made ahead lie for one program and family.
struct Dispenser {
  /// How many are put there at once.
  static let batches = 4...64
  /// Refilled more slowly than the upper bound, the batches shrink; faster than the lower, they grow.
  static let paceNanoseconds: ClosedRange<UInt64> = 5_000_000...1_000_000_000

  /// The daemon's end.
  let fd: Int32
  /// The program takes descriptors from this process.
  let fetches: Bool
  var batch = batches.lowerBound
  var lastRefill: UInt64
  /// Where the program fetches: sockets whose messages were not seen to be taken, the oldest first. The daemon has their apps' ends.
  var untaken: Deque<SlabKey> = []

  /// Lets the size of batches follow how fast they go.
  mutating func adapt(now: UInt64) {
    let interval = now - lastRefill
    lastRefill = now
    if interval > Self.paceNanoseconds.upperBound { batch = max(Self.batches.lowerBound, batch / 2) }
    if interval < Self.paceNanoseconds.lowerBound { batch = min(Self.batches.upperBound, batch * 2) }
  }
}

/// TCP sockets made ahead: a program that makes one after another takes them from a queue in the kernel, without a request
/// (docs/rpc.md, "Sockets made ahead").
///
/// Theory of operation. A batch is put into the queue at a time. The first of a batch says that few are left: who takes it
/// asks for the next batch, while the rest of this one serves. Where the queue was found empty all the same, the program
/// asks for a socket in the ordinary way, which refills it too. What nobody takes ends with the program, when the queue
/// goes and with it the apps' ends in it.
///
/// A program that may take descriptors from this process (pidfd_getfd) does: then nothing is in flight, and the daemon keeps its own
/// descriptor of the app's end until the app connects, which needs none in the request. Filling and marking that end are left to
/// the program too: one thread serves all programs, and each has its own. While the daemon has it, it cannot see that the
/// app has closed the socket: so any other request ends that, or 200 ms after a refill has shown that the socket was taken.
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
    endDispenser(client, family: family)
    let fetches = request.argument.1 & Int32(NC_DISPENSER_FETCHES) != 0
    client.pointee.setDispenser(Dispenser(fd: pair.daemon, fetches: fetches, lastRefill: now), family: family)
    refill(client, family: family)
    return pair.app
  }

  /// Puts a batch into a program's dispenser, unless many lie there.
  func refill(_ client: UnsafeMutablePointer<Client>, family: Int32) {
    guard var dispenser = client.pointee.takeDispenser(family: family) else { return }
    defer { client.pointee.setDispenser(dispenser, family: family) }
    let unread = Pair.unreadRecords(daemon: dispenser.fd)
    while dispenser.untaken.count > unread, let key = dispenser.untaken.popFirst() { lend(key) }
    guard unread < Dispenser.batches.upperBound else { return }
    dispenser.adapt(now: now)
    for index in 0..<dispenser.batch {
      guard mayPrepare(-1), prepare(client, &dispenser, family: family, isFirst: index == 0) else { return }
    }
  }

  /// Makes a socket and tells of it on the dispenser. Returns false where either fails: then the socket ends, as nobody has its app's
  /// end.
  private func prepare(
    _ client: UnsafeMutablePointer<Client>, _ dispenser: inout Dispenser, family: Int32, isFirst: Bool
  ) -> Bool {
    let network = networkTable[client.pointee.network]
    guard
      let (key, appEnd) = makeStream(
        family: family, network: network, process: client.pointee.process, isFinished: !dispenser.fetches),
      let socket = sockets.pointer(key)
    else { return false }
    socket.pointee.isPrepared = true
    socket.pointee.preparedFor = client.pointee.number
    preparedCount += 1
    var message = nc_prepared()
    message.magic = NC_RPC_MAGIC
    message.version = UInt16(NC_RPC_VERSION)
    message.flags = isFirst ? UInt16(NC_PREPARED_LOW) : 0
    message.cookie = socket.pointee.cookie
    message.descriptor = -1
    if dispenser.fetches {
      message.descriptor = appEnd
      message.marks = newMarks(family: family)
      message.filler_bytes = UInt32(socket.pointee.fillerBytes)
    }
    let isSent = Descriptors.send(dispenser.fd, message, passing: dispenser.fetches ? nil : appEnd) == 0
    guard dispenser.fetches else {
      close(appEnd)
      return isSent
    }
    socket.pointee.borrowedEnd = appEnd
    if isSent { dispenser.untaken.append(key) } else { returnBorrowedEnd(key, socket) }
    return isSent
  }

  /// A program has taken a socket that the daemon still has the app's end of.
  private func lend(_ key: SlabKey) {
    guard let socket = sockets.pointer(key), socket.pointee.state == .new, socket.pointee.borrowedEnd >= 0 else {
      return
    }
    noteBorrowed(key, socket)
  }

  /// Closes a program's dispenser, and with it what nobody has taken there.
  func endDispenser(_ client: UnsafeMutablePointer<Client>, family: Int32) {
    guard let dispenser = client.pointee.takeDispenser(family: family) else { return }
    close(dispenser.fd)
    for key in dispenser.untaken {
      if let socket = sockets.pointer(key), socket.pointee.state == .new { returnBorrowedEnd(key, socket) }
    }
  }

  /// A program with a dispenser has asked for a socket: it had found nothing there.
  func noteDry(_ client: UnsafeMutablePointer<Client>, family: Int32) {
    guard client.pointee.hasEmptyDispenser(family: family) else { return }
    refill(client, family: family)
  }

  /// The app has made a request of the socket, or it is over.
  func notePreparedTaken(_ key: SlabKey, _ socket: UnsafeMutablePointer<Socket>) {
    guard socket.pointee.isPrepared else { return }
    socket.pointee.isPrepared = false
    preparedCount -= 1
    if socket.pointee.state == .new { returnBorrowedEnd(key, socket) }
  }

  /// Whether there is so much room that sockets may be made which perhaps nobody takes: they have a quarter of what is free,
  /// so that near a limit there are none. Each has two descriptors, or one of them is in flight, of which a user may have
  /// RLIMIT_NOFILE (unix(7)).
  /// - Parameter descriptor: one that was just made, the lowest that was free; or -1.
  private func mayPrepare(_ descriptor: Int32) -> Bool {
    let used = max(sockets.count + datagrams.count + preparedCount, Int(descriptor))
    let free = min(options.socketLimit, options.descriptorLimit) - used
    return !isEnding && preparedCount < min(1024, options.descriptorLimit / 8, free / 4)
  }
}
