internal import Glibc
internal import UringLoop

/// Moves bytes between the daemon's end of a pair and a stream socket of the host's, until both ways have ended.
///
/// Theory of operation: each of the two ways is a loop of one receive and one send, never both: a way holds at most one
/// buffer, and none while it waits for bytes, because the kernel picks the buffer when they come. So back pressure goes
/// through: who does not read is not read for. The last quarter of the pool only passes through: below that, what is to be
/// sent is copied to its size, so that peers that do not read cannot pin all buffers.
///
/// Ends go through as they are: end of data is a half close at the other side, and comes behind all bytes. When the
/// host's connection breaks, the app first gets what had come (Linux keeps a receive queue through a RST); what it
/// writes meanwhile is dropped.
final class HostRelay {
  /// The ring's operations of a relay.
  enum Operation {
    static let outwardReceive: UInt8 = 1, outwardSend: UInt8 = 2, inwardReceive: UInt8 = 3, inwardSend: UInt8 = 4,
      hangUp: UInt8 = 5
  }

  /// What a completion led to.
  enum Outcome: Equatable {
    case goesOn
    /// A receive found no buffer: call `resume` when there are some.
    case starved
    /// The app has shut down its way out, and still reads.
    case appEnded
    /// The app is gone. How the host's socket is to end.
    case ended(Ending)
    /// The host's connection broke, and the app has all that came before. The errno that it is to find: EPIPE where the
    /// peer's end had come in order (tcp_reset).
    case lost(Int32)
  }

  private struct Held {
    let memory: UnsafeMutableRawPointer
    /// The pool's buffer; nil: memory of its own.
    let buffer: Int?
    var offset = 0
    var count: Int
  }

  private struct Way {
    let source: Int32, target: Int32
    let receive: UInt8, send: UInt8
    var held: Held?
    var isReceiving = false
    var isSending = false
    /// The source's end was read, and the target was shut down.
    var hasEnded = false
    /// The target takes no more; what comes is dropped.
    var discards = false
  }

  private let ring: Ring
  private let pool: BufferPool
  private let token: (UInt8) -> Token
  /// App to host.
  private var outward: Way
  /// Host to app.
  private var inward: Way
  private var polls = false
  private var isClosing = false
  /// Why the host's connection takes no more bytes; 0 while it does.
  private var sendError: Int32 = 0
  private var drains = false
  /// Bytes came from the host that the app will never get.
  private(set) var hasUndelivered = false

  private var pair: Int32 { outward.source }
  private var host: Int32 { inward.source }

  /// - Parameters:
  ///   - pair: the daemon's end of the pair.
  ///   - host: a connected stream socket.
  ///   - token: makes the token of one of `Operation`.
  init(ring: Ring, pool: BufferPool, pair: Int32, host: Int32, token: @escaping (UInt8) -> Token) {
    self.ring = ring
    self.pool = pool
    self.token = token
    outward = Way(
      source: pair, target: host, receive: Operation.outwardReceive, send: Operation.outwardSend)
    inward = Way(source: host, target: pair, receive: Operation.inwardReceive, send: Operation.inwardSend)
  }

  deinit {
    release(&outward)
    release(&inward)
  }

  /// Operations are under way: neither descriptors nor this object may go.
  var isBusy: Bool {
    polls || outward.isReceiving || outward.isSending || inward.isReceiving || inward.isSending
  }

  /// Bytes from the app that the host's socket has not taken yet.
  var heldBytes: Int { outward.held?.count ?? 0 }

  /// The app's way out has ended, and all its bytes are with the host's socket.
  var outwardHasEnded: Bool { outward.hasEnded }

  /// Begins, or goes on after `starved`.
  func resume() -> Outcome {
    advance(&inward)
    return advanceOutward()
  }

  /// What the app has written still goes out, then the host's socket is to end in order.
  func drain() -> Outcome {
    drains = true
    if outward.isReceiving {
      ring.prepareCancel(token(outward.receive), token: Token(kind: Daemon.Kind.cancel, operation: 0, owner: 0))
      return .goesOn
    }
    return advanceOutward()
  }

  /// The app's end is closed in all processes, and `outwardHasEnded`. Bytes that it never read make it a reset, as Linux
  /// does; those still with the host's socket the kernel sees for itself.
  func appClosed() -> Outcome { .ended(inward.held != nil && !inward.discards ? .reset : .inOrder) }

  /// Cancels everything under way; `complete` must still be called until `isBusy` is false.
  func close() {
    isClosing = true
    let cancel = Token(kind: Daemon.Kind.cancel, operation: 0, owner: 0)
    for way in [outward, inward] {
      if way.isReceiving { ring.prepareCancel(token(way.receive), token: cancel) }
      if way.isSending { ring.prepareCancel(token(way.send), token: cancel) }
    }
    if polls { ring.prepareCancel(token(Operation.hangUp), token: cancel) }
  }

  func complete(operation: UInt8, _ completion: Completion) -> Outcome {
    switch operation {
    case Operation.outwardReceive:
      let hasBytes = received(&outward, completion)
      return hasBytes ? advanceOutward() : outwardReceived(-completion.result)
    case Operation.outwardSend:
      let failure = sent(&outward, completion.result)
      return failure == 0 ? advanceOutward() : hostFailed(failure)
    case Operation.inwardReceive:
      let hasBytes = received(&inward, completion)
      if hasBytes, isClosing { hasUndelivered = true }
      return hasBytes ? advanceInward() : inwardReceived(-completion.result)
    case Operation.inwardSend:
      let failure = sent(&inward, completion.result)
      return failure == 0 ? advanceInward() : appFailed(failure)
    case Operation.hangUp: return hangUp(completion)
    default: preconditionFailure("a relay has no operation \(operation)")
    }
  }

  // MARK: One way

  private func advanceInward() -> Outcome {
    advance(&inward)
    return .goesOn
  }

  private func advanceOutward() -> Outcome {
    guard drains, !isClosing, !outward.isReceiving, !outward.isSending, outward.held == nil, !hasUnread(pair) else {
      advance(&outward)
      return .goesOn
    }
    hasUndelivered = inward.held != nil || hasUnread(host)
    return .ended(.inOrder)
  }

  private func advance(_ way: inout Way) {
    guard !way.isReceiving, !way.isSending, !isClosing else { return }
    if way.discards { release(&way) }
    if let held = way.held {
      way.isSending = true
      let bytes = UnsafeRawBufferPointer(start: held.memory + held.offset, count: held.count)
      ring.prepareSend(way.target, bytes, token: token(way.send))
    } else if !way.hasEnded {
      way.isReceiving = true
      ring.prepareReceive(way.source, from: pool, maximumBytes: pool.bufferBytes, token: token(way.receive))
    }
  }

  /// Takes over what was received; false where there was nothing.
  private func received(_ way: inout Way, _ completion: Completion) -> Bool {
    way.isReceiving = false
    guard let buffer = completion.bufferIndex else { return false }
    pool.take(buffer)
    guard completion.result > 0, !isClosing, !way.discards else {
      pool.release(buffer)
      return completion.result > 0
    }
    let (memory, count) = (pool.address(buffer), Int(completion.result))
    if pool.freeCount >= pool.bufferCount / 4 {
      way.held = Held(memory: memory, buffer: buffer, count: count)
    } else {
      let copy = UnsafeMutableRawPointer.allocate(byteCount: count, alignment: 16)
      copy.copyMemory(from: memory, byteCount: count)
      pool.release(buffer)
      way.held = Held(memory: copy, buffer: nil, count: count)
    }
    return true
  }

  /// Takes note of what was sent. Returns 0, or the errno that says that the target takes no more.
  private func sent(_ way: inout Way, _ result: Int32) -> Int32 {
    way.isSending = false
    if result > 0 {
      way.held?.offset += Int(result)
      way.held?.count -= Int(result)
      if way.held?.count == 0 { release(&way) }
    }
    switch -result {
    case ...0, EINTR, EAGAIN, ENOBUFS, ENOMEM, ECANCELED: return 0
    default: return -result
    }
  }

  private func release(_ way: inout Way) {
    guard let held = way.held else { return }
    way.held = nil
    if let buffer = held.buffer { pool.release(buffer) } else { held.memory.deallocate() }
  }

  private func hasUnread(_ fd: Int32) -> Bool {
    var byte: UInt8 = 0
    return recv(fd, &byte, 1, Int32(MSG_PEEK) | Int32(MSG_DONTWAIT)) > 0
  }

  // MARK: Ends

  /// A receive from the app that brought nothing.
  private func outwardReceived(_ error: Int32) -> Outcome {
    guard !isClosing else { return .goesOn }
    switch error {
    case 0:
      outward.hasEnded = true
      if Pair.isHungUp(pair) { return appClosed() }
      shutdown(host, Int32(SHUT_WR))
      return .appEnded
    case ENOBUFS: return .starved
    case EINTR, EAGAIN, ECANCELED: return advanceOutward()
    default: return .ended(.reset)  // ECONNRESET: the app closed with bytes unread, which TCP answers with RST
    }
  }

  /// A receive from the host that brought nothing.
  private func inwardReceived(_ error: Int32) -> Outcome {
    guard !isClosing else { return .goesOn }
    switch error {
    case 0 where sendError == 0:
      inward.hasEnded = true
      shutdown(pair, Int32(SHUT_WR))
      polls = true  // no receive tells of a RST any more
      ring.preparePollMultishot(host, events: 0, token: token(Operation.hangUp))
      return .goesOn
    case ENOBUFS: return .starved
    case EINTR, EAGAIN, ECANCELED: return advanceInward()
    default:
      inward.hasEnded = true
      let cause = error == 0 ? sendError : error
      return .lost(cause == EPIPE ? ECONNRESET : cause)
    }
  }

  /// The host's connection took no more bytes. What it had received before is still to come.
  private func hostFailed(_ error: Int32) -> Outcome {
    guard !isClosing else { return .goesOn }
    sendError = error
    outward.discards = true
    if inward.hasEnded { return .lost(error == ECONNRESET ? EPIPE : error) }
    return advanceOutward()
  }

  /// The app took no more bytes: it closed with bytes unread, or reads no more (SHUT_RD).
  private func appFailed(_ error: Int32) -> Outcome {
    guard !isClosing else { return .goesOn }
    if Pair.isHungUp(pair) { return .ended(.reset) }
    inward.discards = true
    return advanceInward()
  }

  private func hangUp(_ completion: Completion) -> Outcome {
    if !completion.more { polls = false }
    guard !isClosing, completion.result > 0 else { return .goesOn }
    let seen = completion.result
    if seen & Int32(POLLERR) != 0 {
      var (error, length): (Int32, socklen_t) = (0, socklen_t(MemoryLayout<Int32>.size))
      getsockopt(host, SOL_SOCKET, SO_ERROR, &error, &length)
      return .lost(error == 0 || error == ECONNRESET ? EPIPE : error)
    }
    if !completion.more, seen & Int32(POLLHUP) == 0 {
      polls = true
      ring.preparePollMultishot(host, events: 0, token: token(Operation.hangUp))
    }
    return .goesOn
  }
}
