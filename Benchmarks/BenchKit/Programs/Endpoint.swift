internal import Glibc
public import TestSupport

/// An address and a port, IPv4 or IPv6, as literals: the benchmark asks no resolver.
public struct Endpoint: Sendable, CustomStringConvertible {
  public let address: String
  public let port: UInt16
  private let storage: sockaddr_storage
  private let length: socklen_t

  /// - Throws: `SupportError` when `address` is no IPv4 or IPv6 literal.
  public init(address: String, port: UInt16) throws(SupportError) {
    self.address = address
    self.port = port
    var storage = sockaddr_storage()
    var four = in_addr()
    var six = in6_addr()
    if inet_pton(AF_INET, address, &four) == 1 {
      length = socklen_t(MemoryLayout<sockaddr_in>.size)
      withUnsafeMutableBytes(of: &storage) {
        let value = sockaddr_in(
          sin_family: sa_family_t(AF_INET), sin_port: port.bigEndian, sin_addr: four, sin_zero: (0, 0, 0, 0, 0, 0, 0, 0)
        )
        $0.storeBytes(of: value, as: sockaddr_in.self)
      }
    } else if inet_pton(AF_INET6, address, &six) == 1 {
      length = socklen_t(MemoryLayout<sockaddr_in6>.size)
      withUnsafeMutableBytes(of: &storage) {
        let value = sockaddr_in6(
          sin6_family: sa_family_t(AF_INET6), sin6_port: port.bigEndian, sin6_flowinfo: 0, sin6_addr: six,
          sin6_scope_id: 0)
        $0.storeBytes(of: value, as: sockaddr_in6.self)
      }
    } else {
      throw SupportError("'\(address)' is neither an IPv4 nor an IPv6 address")
    }
    self.storage = storage
  }

  public var description: String { address.contains(":") ? "[\(address)]:\(port)" : "\(address):\(port)" }

  private func withAddress<Result>(_ body: (UnsafePointer<sockaddr>, socklen_t) -> Result) -> Result {
    withUnsafePointer(to: storage) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { body($0, length) }
    }
  }

  private func makeSocket(
    _ type: __socket_type = SOCK_STREAM, flags: __socket_type? = nil
  ) throws(SupportError) -> Int32 {
    let bits = type.rawValue | SOCK_CLOEXEC.rawValue | (flags?.rawValue ?? 0)
    let descriptor = socket(Int32(storage.ss_family), Int32(bits), 0)
    guard descriptor >= 0 else { throw SupportError.systemCall("socket", description) }
    return descriptor
  }

  /// A blocking TCP connection; the caller closes it.
  public func connected() throws(SupportError) -> Int32 {
    let descriptor = try makeSocket()
    guard withAddress({ connect(descriptor, $0, $1) }) == 0 else {
      let code = errno
      close(descriptor)
      throw SupportError.systemCall("connect", description, errno: code)
    }
    return descriptor
  }

  /// A non-blocking socket whose connection is under way, or made already; the caller closes it.
  /// - Parameter source: an address to bind to, with port 0: the system then chooses the port by both ends
  ///   (ip(7), IP_BIND_ADDRESS_NO_PORT).
  public func connecting(from source: Endpoint? = nil) throws(SupportError) -> Int32 {
    let descriptor = try makeSocket(flags: SOCK_NONBLOCK)
    if let source {
      var on: Int32 = 1
      setsockopt(descriptor, Int32(IPPROTO_IP), IP_BIND_ADDRESS_NO_PORT, &on, socklen_t(MemoryLayout<Int32>.size))
      guard source.withAddress({ bind(descriptor, $0, $1) }) == 0 else {
        throw SupportError.systemCall("bind", source.description)
      }
    }
    guard withAddress({ connect(descriptor, $0, $1) }) == 0 || errno == EINPROGRESS else {
      let code = errno
      close(descriptor)
      throw SupportError.systemCall("connect", description, errno: code)
    }
    return descriptor
  }

  /// What became of a connection that was under way and is writable now (connect(2), SO_ERROR).
  public static func finishConnecting(_ descriptor: Int32) throws(SupportError) {
    var code: Int32 = 0
    var length = socklen_t(MemoryLayout<Int32>.size)
    guard getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &code, &length) == 0, code == 0 else {
      throw SupportError.systemCall("connect", "a non-blocking socket", errno: code)
    }
  }

  /// A UDP socket with a receive buffer of 4 MiB, or as much as the system allows: bound, or connected. The caller
  /// closes it.
  public func datagramSocket(isServer: Bool) throws(SupportError) -> Int32 {
    let descriptor = try makeSocket(SOCK_DGRAM)
    var bytes: Int32 = 4 << 20
    setsockopt(descriptor, SOL_SOCKET, SO_RCVBUF, &bytes, socklen_t(MemoryLayout<Int32>.size))
    let result = withAddress { isServer ? bind(descriptor, $0, $1) : connect(descriptor, $0, $1) }
    guard result == 0 else { throw SupportError.systemCall(isServer ? "bind" : "connect", "UDP \(description)") }
    return descriptor
  }

  /// A non-blocking listener with SO_REUSEADDR; the caller closes it.
  public func listening(backlog: Int32 = 4096) throws(SupportError) -> Int32 {
    let descriptor = try makeSocket()
    var on: Int32 = 1
    setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &on, socklen_t(MemoryLayout<Int32>.size))
    guard withAddress({ bind(descriptor, $0, $1) }) == 0 else {
      throw SupportError.systemCall("bind", description)
    }
    guard listen(descriptor, backlog) == 0 else { throw SupportError.systemCall("listen", description) }
    guard fcntl(descriptor, F_SETFL, fcntl(descriptor, F_GETFL) | O_NONBLOCK) == 0 else {
      throw SupportError.systemCall("fcntl", description)
    }
    return descriptor
  }

  /// The port that a bound socket has (getsockname(2)).
  public static func localPort(of descriptor: Int32) throws(SupportError) -> UInt16 {
    var storage = sockaddr_storage()
    var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
    let result = withUnsafeMutablePointer(to: &storage) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { getsockname(descriptor, $0, &length) }
    }
    guard result == 0 else { throw SupportError.systemCall("getsockname", "the listener") }
    // sin_port and sin6_port stand at the same offset (RFC 3493, 3.3 as Linux lays it out).
    return withUnsafeBytes(of: storage) { UInt16(bigEndian: $0.load(fromByteOffset: 2, as: UInt16.self)) }
  }
}
