internal import Glibc
public import UringLoop

/// Answers HTTP requests on 127.0.0.1 and ::1, on the ring of whoever owns it.
///
/// Theory of operation: a connection has one operation under way at a time, a read or a send, each into or from memory of
/// its own. It ends when the peer ends it, when a request or the reading of an answer takes longer than `patience`, or when
/// another needs its place and it has waited longest: whoever may reach the port, with or without a token, can hold up
/// nobody for long, and takes no more than `connectionLimit` times the memory of a request.
public final class ControlServer {
  public static let connectionLimit = 32
  private static let receiveBytes = 16 * 1024
  private static let patience: UInt64 = 10_000_000_000
  /// How long a connection that is over waits for its peer's end, so that the peer reads the last answer.
  private static let farewell: UInt64 = 1_000_000_000

  private enum Operation { static let accept: UInt8 = 1, receive: UInt8 = 2, send: UInt8 = 3, cancel: UInt8 = 4 }

  /// The port that programs come to.
  public let port: UInt16
  private let listeners: [Int32]
  private var ring: Ring?
  private var kind: UInt8 = 0
  private var answer: (ControlRequest) -> ControlResponse = { _ in .text(503, "") }
  private var connections = [Connection?](repeating: nil, count: connectionLimit)
  private var connectionCount = 0
  private var generation: UInt64 = 0
  /// Listeners whose accepting ended for want of descriptors, and when it is tried again.
  private var paused: [Int] = []
  private var acceptAgain: UInt64 = 0
  private var isStopped = false

  /// Opens the port; answers nothing yet.
  /// - Parameters:
  ///   - port: 0 lets the kernel choose.
  ///   - insists: fail where the port is taken; otherwise another is chosen.
  /// - Throws: `ControlError`.
  public init(port wanted: UInt16, insists: Bool) throws(ControlError) {
    do {
      (listeners, port) = try Self.listen(wanted)
    } catch let error {
      guard error.code == EADDRINUSE, !insists else {
        let cause = "port \(wanted) of 127.0.0.1: \(String(cString: strerror(error.code)))"
        throw ControlError(error.code == EADDRINUSE ? cause + "; choose another with -p, or -p0 for any" : cause)
      }
      do {
        (listeners, port) = try Self.listen(0)
      } catch let error {
        throw ControlError("127.0.0.1: \(String(cString: strerror(error.code)))")
      }
    }
  }

  deinit { for fd in listeners { close(fd) } }

  private struct ListenError: Error { let code: Int32 }

  /// Listens on the same port of both addresses; where there is no ::1, or its port is another's, on 127.0.0.1 alone.
  private static func listen(_ wanted: UInt16) throws(ListenError) -> ([Int32], UInt16) {
    let v4 = try listen(.v4, wanted)
    var name = sockaddr_in()
    var size = socklen_t(MemoryLayout<sockaddr_in>.size)
    _ = withUnsafeMutablePointer(to: &name) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { getsockname(v4, $0, &size) }
    }
    let port = UInt16(bigEndian: name.sin_port)
    guard let v6 = try? listen(.v6, port) else { return ([v4], port) }
    return ([v4, v6], port)
  }

  private static func listen(_ address: LoopbackAddress, _ port: UInt16) throws(ListenError) -> Int32 {
    let fd = socket(address.family, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
    guard fd >= 0 else { throw ListenError(code: errno) }
    var one: Int32 = 1
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, 4)
    guard address.withSocketAddress(port: port, { bind(fd, $0, $1) }) == 0, Glibc.listen(fd, 16) == 0 else {
      let code = errno
      close(fd)
      throw ListenError(code: code)
    }
    return fd
  }

  /// Begins to answer.
  /// - Parameters:
  ///   - kind: the token kind that the loop's switch sends to `complete`.
  ///   - answer: called between turns of other work; what it returns is sent.
  public func start(_ ring: Ring, kind: UInt8, answer: @escaping (ControlRequest) -> ControlResponse) {
    self.ring = ring
    self.kind = kind
    self.answer = answer
    for index in listeners.indices { armAccept(index) }
  }

  private func armAccept(_ index: Int) {
    ring?.prepareAcceptMultishot(listeners[index], token: token(Operation.accept, UInt64(index)))
  }

  private func token(_ operation: UInt8, _ owner: UInt64) -> Token {
    Token(kind: kind, operation: operation, owner: owner)
  }

  public func complete(_ completion: Completion, now: UInt64) {
    let owner = completion.token.owner
    switch completion.token.operation {
    case Operation.accept: completeAccept(Int(owner), completion, now: now)
    case Operation.receive: completeReceive(owner, completion.result, now: now)
    case Operation.send: completeSend(owner, completion.result, now: now)
    default: break
    }
  }

  /// When `expire` wants to be called: monotonic nanoseconds, nil for never.
  public var deadline: UInt64? {
    guard connectionCount > 0 || !paused.isEmpty else { return nil }  // the loop asks twice a turn
    var earliest = paused.isEmpty ? nil : acceptAgain
    for case let connection? in connections where !connection.isCancelled {
      earliest = min(earliest ?? .max, connection.deadline)
    }
    return earliest
  }

  /// Ends the connections that took too long.
  public func expire(now: UInt64) {
    for case let connection? in connections where connection.deadline <= now { cancel(connection) }
    guard acceptAgain <= now, !isStopped else { return }
    for index in paused { armAccept(index) }
    paused = []
  }

  /// Accepts nobody any more and ends all connections; completions may still arrive.
  public func stop() {
    isStopped = true
    for index in listeners.indices {
      ring?.prepareCancel(token(Operation.accept, UInt64(index)), token: token(Operation.cancel, 0))
    }
    for case let connection? in connections { cancel(connection) }
  }

  // MARK: Connections

  private func completeAccept(_ index: Int, _ completion: Completion, now: UInt64) {
    if completion.result >= 0 { add(completion.result, now: now) }
    guard !completion.more, !isStopped else { return }
    if completion.result >= 0 || completion.result == -EINTR { return armAccept(index) }
    paused.append(index)  // out of descriptors or memory: at once it would fail again, for ever
    acceptAgain = now + 100_000_000
  }

  private func add(_ fd: Int32, now: UInt64) {
    guard !isStopped, let place = connections.firstIndex(where: { $0 == nil }) else {
      close(fd)
      let waiting = connections.compactMap { $0 }.filter { !$0.isCancelled }
      if let oldest = waiting.min(by: { $0.deadline < $1.deadline }) { cancel(oldest) }
      return
    }
    generation = (generation + 1) & 0xff_ffff
    let connection = Connection(
      fd: fd, owner: generation << 8 | UInt64(place), receiveBytes: Self.receiveBytes, deadline: now + Self.patience)
    connections[place] = connection
    connectionCount += 1
    receive(connection)
  }

  private func find(_ owner: UInt64) -> Connection? {
    let connection = connections[Int(owner & 0xff)]
    return connection?.owner == owner ? connection : nil
  }

  private func receive(_ connection: Connection) {
    ring?.prepareRead(connection.fd, into: connection.buffer, token: token(Operation.receive, connection.owner))
  }

  private func completeReceive(_ owner: UInt64, _ result: Int32, now: UInt64) {
    guard let connection = find(owner) else { return }
    guard result > 0, !connection.isCancelled else {
      if result == -EINTR || result == -EAGAIN, !connection.isCancelled { return receive(connection) }
      return remove(connection)
    }
    let bytes = UnsafeRawBufferPointer(rebasing: connection.buffer[..<Int(result)])
    connection.setOutput(connection.exchange.receive(bytes, answer: answer))
    if connection.unsent.isEmpty { receive(connection) } else { send(connection, now: now) }
  }

  private func send(_ connection: Connection, now: UInt64) {
    connection.deadline = now + Self.patience
    ring?.prepareSend(connection.fd, connection.unsent, token: token(Operation.send, connection.owner))
  }

  private func completeSend(_ owner: UInt64, _ result: Int32, now: UInt64) {
    guard let connection = find(owner) else { return }
    guard result > 0 || result == -EINTR || result == -EAGAIN, !connection.isCancelled else {
      return remove(connection)
    }
    connection.noteSent(max(0, Int(result)))
    if !connection.unsent.isEmpty { return send(connection, now: now) }
    if connection.exchange.isOver {
      shutdown(connection.fd, Int32(SHUT_WR))
      connection.deadline = now + Self.farewell
    }
    receive(connection)
  }

  private func cancel(_ connection: Connection) {
    guard !connection.isCancelled else { return }
    connection.isCancelled = true
    for operation in [Operation.receive, Operation.send] {
      ring?.prepareCancel(token(operation, connection.owner), token: token(Operation.cancel, 0))
    }
  }

  private func remove(_ connection: Connection) {
    connections[Int(connection.owner & 0xff)] = nil
    connectionCount -= 1
  }
}

/// One HTTP connection, with the memory that the kernel reads and writes.
private final class Connection {
  let fd: Int32
  /// Its place, 8 bits, below a number that the next one in the place does not have.
  let owner: UInt64
  let buffer: UnsafeMutableRawBufferPointer
  let exchange = HTTPServerExchange()
  private var output = UnsafeMutableRawBufferPointer(start: nil, count: 0)
  private var sent = 0
  /// Monotonic nanoseconds.
  var deadline: UInt64
  /// It ends when the operation under way has completed.
  var isCancelled = false

  init(fd: Int32, owner: UInt64, receiveBytes: Int, deadline: UInt64) {
    self.fd = fd
    self.owner = owner
    self.deadline = deadline
    buffer = .allocate(byteCount: receiveBytes, alignment: 16)
  }

  deinit {
    close(fd)
    buffer.deallocate()
    output.deallocate()
  }

  var unsent: UnsafeRawBufferPointer { UnsafeRawBufferPointer(rebasing: output[sent...]) }

  func setOutput(_ bytes: [UInt8]) {
    output.deallocate()
    output = .allocate(byteCount: bytes.count, alignment: 1)
    output.copyBytes(from: bytes)
    sent = 0
  }

  func noteSent(_ count: Int) { sent += count }
}
