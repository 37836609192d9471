internal import FoundationEssentials
internal import Glibc
internal import Synchronization
internal import TestSupport

/// One server for all scenarios, on one listener.
///
/// Theory of operation: the main thread polls the listener and the connections that have not said yet what they want.
/// Short connections (churn) are served right there; for a transfer the connection goes to a thread of its own, whose
/// blocking reads and writes are what an ordinary program does. Nothing is shared but the log.
public final class Server {
  private struct Pending {
    let descriptor: Int32
    var header: [UInt8] = []
    /// A churn connection that was answered and whose client closes first.
    var isAnswered = false
  }

  private let listener: Int32
  private let logs: Bool
  private var pending: [Pending] = []

  /// - Parameter logs: print one JSON line for each finished transfer.
  public init(_ endpoint: Endpoint, logs: Bool) throws {
    self.logs = logs
    listener = try endpoint.listening()
  }

  public func port() throws -> UInt16 { try Endpoint.localPort(of: listener) }

  /// Serves until the process is ended.
  public func run() throws -> Never {
    while true {
      var waiting = [pollfd(fd: listener, events: Int16(POLLIN), revents: 0)]
      waiting += pending.map { pollfd(fd: $0.descriptor, events: Int16(POLLIN), revents: 0) }
      guard poll(&waiting, nfds_t(waiting.count), -1) >= 0 || errno == EINTR else {
        throw SupportError.systemCall("poll", "the server")
      }
      let known = pending
      pending.removeAll(keepingCapacity: true)
      for (index, connection) in known.enumerated() {
        if waiting[index + 1].revents == 0 { pending.append(connection) } else { advance(connection) }
      }
      if waiting[0].revents != 0 { try acceptAll() }
    }
  }

  private func acceptAll() throws {
    while true {
      let descriptor = accept(listener, nil, nil)
      guard descriptor >= 0 else {
        switch errno {
        case EAGAIN, EINTR, ECONNABORTED: return
        default: throw SupportError.systemCall("accept", "the server")
        }
      }
      advance(Pending(descriptor: descriptor))
    }
  }

  /// Reads what has come and acts on it.
  private func advance(_ connection: Pending) {
    var connection = connection
    let missing = connection.isAnswered ? 1 : RequestHeader.byteCount - connection.header.count
    var buffer: (UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, 0)
    let count = withUnsafeMutableBytes(of: &buffer) { bytes in
      let count = recv(connection.descriptor, bytes.baseAddress, missing, Int32(MSG_DONTWAIT))
      if count > 0 { connection.header.append(contentsOf: UnsafeRawBufferPointer(rebasing: bytes[..<count])) }
      return count
    }
    if count < 0 && errno == EAGAIN { return pending.append(connection) }
    guard count > 0, !connection.isAnswered else {
      close(connection.descriptor)
      return
    }
    guard connection.header.count == RequestHeader.byteCount else { return pending.append(connection) }
    guard let header = connection.header.withUnsafeBytes({ RequestHeader(decoding: $0) }) else {
      close(connection.descriptor)
      return
    }
    if header.scenario == .churn { answer(connection, header) } else { serve(connection.descriptor, header) }
  }

  private func answer(_ connection: Pending, _ header: RequestHeader) {
    var byte = UInt8(truncatingIfNeeded: header.seed)
    let sent = send(connection.descriptor, &byte, 1, Int32(MSG_NOSIGNAL))
    if sent != 1 || header.closer == .server {
      close(connection.descriptor)
    } else {
      var answered = connection
      answered.isAnswered = true
      pending.append(answered)
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
    let pattern = Pattern(seed: header.seed, windowBytes: chunkBytes)
    var report: Report
    switch header.scenario {
    case .sink: report = try stream.receive(pattern, limit: header.bytes, wantsDigest: header.wantsDigest)
    case .sinkUntilEnd: report = try stream.receive(pattern, limit: .max, wantsDigest: header.wantsDigest)
    case .duplex: report = try stream.duplex(pattern, count: header.bytes, wantsDigest: header.wantsDigest)
    case .source: report = try source(stream, pattern, header)
    case .churn: report = Report()
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
