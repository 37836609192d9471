internal import Glibc
internal import NIOCore
internal import NIOEmbedded
internal import NIOHTTP1

/// One request to a control server on this machine; waits for the answer.
public struct ControlClient: Sendable {
  private let port: UInt16
  private let token: String
  private let patienceSeconds: Int

  /// - Parameters:
  ///   - port: on 127.0.0.1 or ::1.
  ///   - token: what HOME/authtoken.secret holds.
  ///   - patienceSeconds: how long the service may take to answer.
  public init(port: UInt16, token: String, patienceSeconds: Int = 30) {
    self.port = port
    self.token = token
    self.patienceSeconds = patienceSeconds
  }

  /// - Parameter target: path and query.
  /// - Throws: `ControlError` where nobody answers, or no HTTP.
  public func send(_ method: String, _ target: String) throws(ControlError) -> ControlResponse {
    let fd = try connect()
    defer { close(fd) }
    var limit = timeval(tv_sec: patienceSeconds, tv_usec: 0)
    for option in [SO_RCVTIMEO, SO_SNDTIMEO] {
      setsockopt(fd, SOL_SOCKET, option, &limit, socklen_t(MemoryLayout<timeval>.size))
    }
    do {
      return try exchange(fd, HTTPMethod(rawValue: method), target)
    } catch let error as ControlError {
      throw error
    } catch {
      throw ControlError("what answers at port \(port) speaks no HTTP (\(error))")
    }
  }

  private func connect() throws(ControlError) -> Int32 {
    var cause = ECONNREFUSED
    for address in LoopbackAddress.both {
      let fd = socket(address.family, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
      guard fd >= 0 else {
        cause = errno
        continue
      }
      if address.withSocketAddress(port: port, { Glibc.connect(fd, $0, $1) }) == 0 { return fd }
      cause = errno
      close(fd)
    }
    throw ControlError(
      "nobody answers at port \(port) of 127.0.0.1 (\(String(cString: strerror(cause)))): is netcond running?")
  }

  private func exchange(_ fd: Int32, _ method: HTTPMethod, _ target: String) throws -> ControlResponse {
    let channel = EmbeddedChannel()
    defer { _ = try? channel.finish(acceptAlreadyClosed: true) }
    try channel.pipeline.syncOperations.addHTTPClientHandlers()
    // The channel must only believe that it is connected: it knows no network.
    try channel.connect(to: SocketAddress(ipAddress: "127.0.0.1", port: Int(port))).wait()
    let headers: HTTPHeaders = [
      "host": "127.0.0.1:\(port)", "x-zt1-auth": token, "content-length": "0", "connection": "close",
    ]
    channel.write(
      HTTPClientRequestPart.head(HTTPRequestHead(version: .http1_1, method: method, uri: target, headers: headers)),
      promise: nil)
    channel.writeAndFlush(HTTPClientRequestPart.end(nil), promise: nil)
    while let bytes = try channel.readOutbound(as: ByteBuffer.self) {
      try write(Array(bytes.readableBytesView), to: fd)
    }
    return try readResponse(fd, channel)
  }

  private func write(_ bytes: [UInt8], to fd: Int32) throws {
    var sent = 0
    while sent < bytes.count {
      let count = bytes.withUnsafeBytes {
        Glibc.send(fd, $0.baseAddress! + sent, $0.count - sent, Int32(MSG_NOSIGNAL))
      }
      if count < 0, errno == EINTR { continue }
      guard count > 0 else { throw interrupted(count) }
      sent += count
    }
  }

  private func readResponse(_ fd: Int32, _ channel: EmbeddedChannel) throws -> ControlResponse {
    var head: HTTPResponseHead?
    var body: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 64 * 1024)
    while true {
      let count = read(fd, &buffer, buffer.count)
      if count < 0, errno == EINTR { continue }
      guard count > 0 else { throw interrupted(count) }
      try channel.writeInbound(ByteBuffer(bytes: buffer[..<count]))
      while let part = try channel.readInbound(as: HTTPClientResponsePart.self) {
        switch part {
        case .head(let value): head = value
        case .body(let bytes): body.append(contentsOf: bytes.readableBytesView)
        case .end:
          guard let head else { continue }
          return ControlResponse(
            status: Int(head.status.code), contentType: head.headers.first(name: "content-type") ?? "", body: body)
        }
      }
    }
  }

  /// - Parameter result: of the system call: 0 at the end of the stream.
  private func interrupted(_ result: Int) -> ControlError {
    let cause = result == 0 ? "it hung up" : String(cString: strerror(errno))
    return ControlError("no answer came from port \(port) of 127.0.0.1 (\(cause)): is netcond running?")
  }
}

/// 127.0.0.1 and ::1.
enum LoopbackAddress {
  case v4, v6
  static let both: [LoopbackAddress] = [.v4, .v6]

  var family: Int32 { self == .v4 ? AF_INET : AF_INET6 }

  func withSocketAddress<Result>(
    port: UInt16, _ body: (UnsafePointer<sockaddr>, socklen_t) throws -> Result
  ) rethrows -> Result {
    func call<Address>(_ address: Address) throws -> Result {
      try withUnsafePointer(to: address) {
        try $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { try body($0, socklen_t(MemoryLayout<Address>.size)) }
      }
    }
    switch self {
    case .v4:
      var address = sockaddr_in()
      address.sin_family = sa_family_t(AF_INET)
      address.sin_port = port.bigEndian
      address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
      return try call(address)
    case .v6:
      var address = sockaddr_in6()
      address.sin6_family = sa_family_t(AF_INET6)
      address.sin6_port = port.bigEndian
      withUnsafeMutableBytes(of: &address.sin6_addr) { $0[15] = 1 }
      return try call(address)
    }
  }
}
