/// What a connection is for. The client says it in the first 32 bytes.
public enum RequestKind: UInt8, Sendable {
  /// The server receives exactly `byteCount` bytes, then answers with a `Report`.
  case sink = 1
  /// The server receives until end of file; it answers with a `Report` if `wantsReport`, and only logs otherwise.
  case sinkUntilEnd = 2
  /// The server sends `byteCount` bytes, or as many as fit in `durationMilliseconds`.
  case source = 3
  /// Both send `byteCount` bytes at the same time; then the server answers with a `Report`.
  case duplex = 4
  /// The server answers one byte, the lowest of the seed.
  case churn = 5
  /// The server sends back what it gets, from a thread that blocks.
  case echo = 6
  /// The same from the loop that serves all short connections.
  case echoInLoop = 7
  /// The server answers one byte, the lowest of the seed, and keeps the connection.
  case idle = 8
}

/// Who closes the connection first, and so keeps its TIME_WAIT.
public enum Closer: UInt8, Sendable {
  case client = 0
  case server = 1
}

/// The first bytes of each connection, from the client: 32 bytes, little-endian.
public struct RequestHeader: Equatable, Sendable {
  public static let byteCount = 32
  static let magic: UInt32 = 0x4245_434e  // "NCEB" in memory

  public var scenario: RequestKind
  public var closer: Closer = .client
  public var wantsDigest = false
  public var wantsReport = true
  /// How many bytes flow in the scenario's direction.
  public var bytes: UInt64 = 0
  /// Chooses the pattern.
  public var seed: UInt64 = 0
  /// The size of the server's writes and reads, in bytes.
  public var chunkBytes: UInt32 = 131_072
  /// For `source`: how long the server sends; 0 = `bytes` counts.
  public var durationMilliseconds: UInt32 = 0

  public init(_ scenario: RequestKind) { self.scenario = scenario }

  public var encoded: [UInt8] {
    var buffer = [UInt8](repeating: 0, count: RequestHeader.byteCount)
    buffer.withUnsafeMutableBytes { bytes in
      bytes.storeBytes(of: RequestHeader.magic.littleEndian, toByteOffset: 0, as: UInt32.self)
      bytes[4] = scenario.rawValue
      bytes[5] = closer.rawValue
      bytes[6] = (wantsDigest ? 1 : 0) | (wantsReport ? 2 : 0)
      bytes.storeBytes(of: self.bytes.littleEndian, toByteOffset: 8, as: UInt64.self)
      bytes.storeBytes(of: seed.littleEndian, toByteOffset: 16, as: UInt64.self)
      bytes.storeBytes(of: chunkBytes.littleEndian, toByteOffset: 24, as: UInt32.self)
      bytes.storeBytes(of: durationMilliseconds.littleEndian, toByteOffset: 28, as: UInt32.self)
    }
    return buffer
  }

  /// nil when the bytes are no header: the server then closes the connection.
  public init?(decoding buffer: UnsafeRawBufferPointer) {
    guard buffer.count >= RequestHeader.byteCount,
      UInt32(littleEndian: buffer.loadUnaligned(fromByteOffset: 0, as: UInt32.self)) == RequestHeader.magic,
      let scenario = RequestKind(rawValue: buffer[4]), let closer = Closer(rawValue: buffer[5])
    else { return nil }
    self.scenario = scenario
    self.closer = closer
    wantsDigest = buffer[6] & 1 != 0
    wantsReport = buffer[6] & 2 != 0
    bytes = UInt64(littleEndian: buffer.loadUnaligned(fromByteOffset: 8, as: UInt64.self))
    seed = UInt64(littleEndian: buffer.loadUnaligned(fromByteOffset: 16, as: UInt64.self))
    chunkBytes = min(max(1, UInt32(littleEndian: buffer.loadUnaligned(fromByteOffset: 24, as: UInt32.self))), 1 << 22)
    durationMilliseconds = UInt32(littleEndian: buffer.loadUnaligned(fromByteOffset: 28, as: UInt32.self))
  }
}

/// What the server saw of what it received: 40 bytes, little-endian.
public struct Report: Equatable, Sendable {
  public static let byteCount = 40
  static let magic: UInt32 = 0x5052_434e  // "NCRP" in memory

  /// Bytes received.
  public var count: UInt64 = 0
  /// Where the stream first differed from the pattern; nil when it never did.
  public var firstMismatch: UInt64?
  /// `StreamDigest` of the bytes, 0 when not asked for.
  public var digest: UInt64 = 0
  /// CPU time of the connection's thread.
  public var cpuNanoseconds: UInt64 = 0

  public init() {}

  public var encoded: [UInt8] {
    var buffer = [UInt8](repeating: 0, count: Report.byteCount)
    buffer.withUnsafeMutableBytes { bytes in
      bytes.storeBytes(of: Report.magic.littleEndian, toByteOffset: 0, as: UInt32.self)
      bytes.storeBytes(of: count.littleEndian, toByteOffset: 8, as: UInt64.self)
      bytes.storeBytes(of: (firstMismatch ?? .max).littleEndian, toByteOffset: 16, as: UInt64.self)
      bytes.storeBytes(of: digest.littleEndian, toByteOffset: 24, as: UInt64.self)
      bytes.storeBytes(of: cpuNanoseconds.littleEndian, toByteOffset: 32, as: UInt64.self)
    }
    return buffer
  }

  public init?(decoding buffer: UnsafeRawBufferPointer) {
    guard buffer.count >= Report.byteCount,
      UInt32(littleEndian: buffer.loadUnaligned(fromByteOffset: 0, as: UInt32.self)) == Report.magic
    else { return nil }
    count = UInt64(littleEndian: buffer.loadUnaligned(fromByteOffset: 8, as: UInt64.self))
    let mismatch = UInt64(littleEndian: buffer.loadUnaligned(fromByteOffset: 16, as: UInt64.self))
    firstMismatch = mismatch == .max ? nil : mismatch
    digest = UInt64(littleEndian: buffer.loadUnaligned(fromByteOffset: 24, as: UInt64.self))
    cpuNanoseconds = UInt64(littleEndian: buffer.loadUnaligned(fromByteOffset: 32, as: UInt64.self))
  }
}
