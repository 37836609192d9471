internal import FoundationEssentials
internal import CEpoll
internal import Glibc
internal import Synchronization
internal import TestSupport

/// One server for all scenarios: one listener, and one UDP socket of the same port.
///
/// Theory of operation: the main thread watches the listener and the connections that have not said yet what they want.
/// Short connections (churn) are served right there, and so are many that echo and those that idle; for a transfer the
/// connection goes to a thread of its own, whose blocking reads and writes are what an ordinary program does. Datagrams
/// have a thread, too. Nothing is shared but the log and the pattern.
public final class Server {
  /// A connection that the main thread serves.
  private struct Short {
    var header: [UInt8] = []
    /// nil until the header is whole.
    var scenario: RequestKind?
  }

  private let listener: Int32
  private let logs: Bool
  private let events: EventSet
  /// By descriptor.
  private var connections: [Int32: Short] = [:]
  private let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 65_536, alignment: 64)

  /// - Parameter logs: print one JSON line for each finished transfer.
  public init(_ endpoint: Endpoint, logs: Bool) throws {
    self.logs = logs
    listener = try endpoint.listening()
    events = try EventSet()
    try events.add(listener, EPOLLIN)
    let datagrams = try Endpoint(address: endpoint.address, port: try Endpoint.localPort(of: listener))
      .datagramSocket(isServer: true)
    _ = Threads.detach { Server.serveDatagrams(datagrams) }
  }

  public func port() throws -> UInt16 { try Endpoint.localPort(of: listener) }

  /// Serves until the process is ended.
  public func run() throws -> Never {
    while true {
      _ = try events.wait { descriptor throws(SupportError) in
        if descriptor == listener { try acceptAll() } else { advance(descriptor) }
      }
    }
  }

  private func acceptAll() throws(SupportError) {
    while true {
      let descriptor = accept(listener, nil, nil)
      guard descriptor >= 0 else {
        switch errno {
        case EAGAIN, EINTR, ECONNABORTED: return
        default: throw SupportError.systemCall("accept", "the server")
        }
      }
      connections[descriptor] = Short()
      try events.add(descriptor, EPOLLIN)
      advance(descriptor)
    }
  }

  private func end(_ descriptor: Int32) {
    connections[descriptor] = nil
    close(descriptor)
  }

  /// Reads what has come and acts on it.
  private func advance(_ descriptor: Int32) {
    guard let connection = connections[descriptor] else { return }
    let limit = connection.scenario == nil ? RequestHeader.byteCount - connection.header.count : buffer.count
    let count = recv(descriptor, buffer.baseAddress, limit, Int32(MSG_DONTWAIT))
    if count < 0 && errno == EAGAIN { return }
    guard count > 0 else { return end(descriptor) }
    let bytes = UnsafeRawBufferPointer(rebasing: buffer[..<count])
    switch connection.scenario {
    case nil: advance(descriptor, header: connection.header + bytes)
    case .echoInLoop:
      // A client has one request under way: its answer always fits.
      if send(descriptor, bytes.baseAddress, count, Int32(MSG_NOSIGNAL)) != count { end(descriptor) }
    default: end(descriptor)  // churn and idle have nothing more to say
    }
  }

  private func advance(_ descriptor: Int32, header bytes: [UInt8]) {
    guard bytes.count == RequestHeader.byteCount else {
      connections[descriptor] = Short(header: bytes)
      return
    }
    guard let header = bytes.withUnsafeBytes({ RequestHeader(decoding: $0) }) else { return end(descriptor) }
    connections[descriptor] = Short(scenario: header.scenario)
    switch header.scenario {
    case .echoInLoop: return
    case .churn, .idle:
      var byte = UInt8(truncatingIfNeeded: header.seed)
      let sent = send(descriptor, &byte, 1, Int32(MSG_NOSIGNAL))
      if sent != 1 || (header.scenario == .churn && header.closer == .server) { end(descriptor) }
    case .sink, .sinkUntilEnd, .source, .duplex, .echo:
      connections[descriptor] = nil
      events.remove(descriptor)
      serve(descriptor, header)
    }
  }

  private func serve(_ descriptor: Int32, _ header: RequestHeader) {
    let logs = logs
    let isStarted = Threads.detach {
      let outcome: ServedTransfer
      do throws(SupportError) {
        outcome = ServedTransfer(header, try Server.transfer(descriptor, header), error: nil)
      } catch {
        outcome = ServedTransfer(header, Report(), error: error.description)
      }
      if logs { Log.print(outcome) }
    }
    if !isStarted { close(descriptor) }
  }

  /// One transfer over a connection that this call closes.
  private static func transfer(_ descriptor: Int32, _ header: RequestHeader) throws(SupportError) -> Report {
    let chunkBytes = Int(header.chunkBytes)
    let stream = Stream(descriptor, chunkBytes: chunkBytes)
    let shared = PatternCache.pattern(seed: header.seed, windowBytes: chunkBytes)
    var report: Report
    switch header.scenario {
    case .sink: report = try stream.receive(shared.pattern, limit: header.bytes, wantsDigest: header.wantsDigest)
    case .sinkUntilEnd: report = try stream.receive(shared.pattern, limit: .max, wantsDigest: header.wantsDigest)
    case .duplex: report = try stream.duplex(shared.pattern, count: header.bytes, wantsDigest: header.wantsDigest)
    case .source: report = try source(stream, shared.pattern, header)
    case .echo:
      try stream.echoAll()
      return Report()
    case .churn, .idle, .echoInLoop: preconditionFailure("the main thread serves these")
    }
    if header.wantsReport && header.scenario != .source { try stream.sendAll(report.encoded) }
    if header.closer == .client { try stream.expectEnd() }
    return report
  }

  private static func source(
    _ stream: borrowing Stream, _ pattern: borrowing Pattern, _ header: RequestHeader
  ) throws(SupportError) -> Report {
    var report = Report()
    var digest = header.wantsDigest ? StreamDigest() : nil
    let isTimed = header.durationMilliseconds > 0
    let deadline = isTimed ? monotonicSeconds() + Double(header.durationMilliseconds) / 1000 : nil
    report.count = try stream.send(
      pattern, limit: isTimed ? .max : header.bytes, deadline: deadline, digest: &digest)
    report.digest = digest?.value ?? 0
    return report
  }
}

/// One line of the server's log: what a finished transfer was, as the server saw it.
public struct ServedTransfer: Codable, Sendable {
  public let scenario: String
  /// Bytes received, or sent for `source`.
  public let bytes: UInt64
  /// Whether each byte was the pattern's and no call failed.
  public let isIntact: Bool
  /// `StreamDigest`, 0 when not asked for.
  public let digest: String
  public let error: String?

  init(_ header: RequestHeader, _ report: Report, error: String?) {
    scenario = "\(header.scenario)"
    bytes = report.count
    isIntact = error == nil && report.firstMismatch == nil
    digest = String(report.digest, radix: 16)
    self.error = error
  }
}

/// Standard output, one whole JSON line at a time.
enum Log {
  private static let lock = Mutex(())

  static func print(_ value: some Encodable) {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    guard var line = try? Array(encoder.encode(value)) else { return }
    line.append(UInt8(ascii: "\n"))
    lock.withLock { _ in _ = write(1, line, line.count) }
  }
}
