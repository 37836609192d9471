internal import Glibc
internal import LwipGlue

/// Addresses of the host's sockets (ip(7), ipv6(7)).
enum HostAddress {
  /// Runs `body` with `endpoint` as the kernel wants it.
  static func with<Result>(_ endpoint: Endpoint, _ body: (UnsafePointer<sockaddr>, socklen_t) -> Result) -> Result {
    var storage = sockaddr_storage()
    return withUnsafeMutableBytes(of: &storage) { bytes in
      var length = MemoryLayout<sockaddr_in>.size
      if endpoint.address.isV6 {
        var address = sockaddr_in6()
        address.sin6_family = sa_family_t(AF_INET6)
        address.sin6_port = endpoint.port.bigEndian
        withUnsafeMutableBytes(of: &address.sin6_addr) { target in
          endpoint.address.withBytes { target.copyMemory(from: $0) }
        }
        length = MemoryLayout<sockaddr_in6>.size
        bytes.storeBytes(of: address, as: sockaddr_in6.self)
      } else {
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = endpoint.port.bigEndian
        withUnsafeMutableBytes(of: &address.sin_addr) { target in
          endpoint.address.withBytes { target.copyMemory(from: $0) }
        }
        bytes.storeBytes(of: address, as: sockaddr_in.self)
      }
      return body(bytes.baseAddress!.assumingMemoryBound(to: sockaddr.self), socklen_t(length))
    }
  }

  /// Reads what the kernel wrote; nil where it is no internet address.
  static func read(_ bytes: UnsafeRawBufferPointer) -> Endpoint? {
    guard bytes.count >= MemoryLayout<sockaddr_in>.size else { return nil }
    switch Int32(bytes.loadUnaligned(as: sa_family_t.self)) {
    case AF_INET:
      let address = bytes.loadUnaligned(as: sockaddr_in.self)
      let ip = withUnsafeBytes(of: address.sin_addr) { IPAddress(bytes: $0.baseAddress!, isV6: false) }
      return Endpoint(address: ip, port: UInt16(bigEndian: address.sin_port))
    case AF_INET6 where bytes.count >= MemoryLayout<sockaddr_in6>.size:
      let address = bytes.loadUnaligned(as: sockaddr_in6.self)
      let ip = withUnsafeBytes(of: address.sin6_addr) { IPAddress(bytes: $0.baseAddress!, isV6: true) }
      return Endpoint(address: ip, port: UInt16(bigEndian: address.sin6_port))
    default: return nil
    }
  }

  /// getsockname(2).
  static func local(of fd: Int32) -> Endpoint? { name { getsockname(fd, $0, $1) } }
  /// getpeername(2); nil where there is no peer (any more).
  static func remote(of fd: Int32) -> Endpoint? { name { getpeername(fd, $0, $1) } }

  private static func name(
    _ call: (UnsafeMutablePointer<sockaddr>, UnsafeMutablePointer<socklen_t>) -> Int32
  ) -> Endpoint? {
    var storage = sockaddr_storage()
    var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
    return withUnsafeMutableBytes(of: &storage) { bytes in
      guard call(bytes.baseAddress!.assumingMemoryBound(to: sockaddr.self), &length) == 0 else { return nil }
      return read(UnsafeRawBufferPointer(rebasing: bytes.prefix(Int(length))))
    }
  }
}
