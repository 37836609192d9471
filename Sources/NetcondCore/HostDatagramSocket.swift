internal import CSocket
internal import Glibc
internal import LwipGlue

/// A datagram socket of the host's, the companion of an intercepted one: of one family, and asked without waiting.
final class HostDatagramSocket {
  let fd: Int32
  let isV6: Bool
  /// A poll of the ring waits for datagrams or errors.
  var isPolling = false

  /// - Parameter fd: owned from here on.
  init(owning fd: Int32, isV6: Bool) {
    self.fd = fd
    self.isV6 = isV6
    nc_host_datagram_prepare(fd, isV6 ? 1 : 0)
  }

  deinit { close(fd) }

  /// Binds. Returns 0 or an errno.
  func bind(to local: Endpoint) -> Int32 {
    HostAddress.with(local) { Glibc.bind(fd, $0, $1) } == 0 ? 0 : errno
  }

  /// Gives it a peer, which never waits. Returns 0 or an errno.
  func connect(to peer: Endpoint) -> Int32 {
    HostAddress.with(peer) { Glibc.connect(fd, $0, $1) } == 0 ? 0 : errno
  }

  func disconnect() {
    var unspecified = sockaddr()
    Glibc.connect(fd, &unspecified, socklen_t(MemoryLayout<sockaddr>.size))
  }

  /// The MTU of the way to the peer, in bytes.
  var pathMTU: Int {
    var (mtu, length): (Int32, socklen_t) = (0, socklen_t(MemoryLayout<Int32>.size))
    let status = getsockopt(  // IP_MTU, IPV6_MTU
      fd, isV6 ? Int32(IPPROTO_IPV6) : Int32(IPPROTO_IP), isV6 ? 24 : 14, &mtu, &length)
    return status == 0 ? Int(mtu) : 1280
  }

  /// Sends without waiting. Returns 0 or an errno.
  func send(
    _ payload: UnsafeRawBufferPointer, to peer: Endpoint, from source: IPAddress?, options: DatagramOptions
  ) -> Int32 {
    HostAddress.with(peer) { address, length in
      func send(_ source: UnsafeRawPointer?) -> Int32 {
        -nc_host_datagram_send(
          fd, isV6 ? 1 : 0, address, Int(length), source, Int32(options.hopLimit), Int32(options.trafficClass),
          payload.baseAddress, payload.count)
      }
      guard let source, source.isV6 == isV6 else { return send(nil) }
      return source.withBytes { send($0.baseAddress) }
    }
  }

  /// Takes the next datagram, or the next error. Returns its payload, or nil where there is none.
  func receive(
    errors: Bool, into buffer: UnsafeMutableRawBufferPointer, _ facts: inout nc_host_datagram
  ) -> UnsafeMutableRawBufferPointer? {
    var attempts = 4  // an error of the socket's comes instead of a datagram, once; its message is in the queue
    while attempts > 0 {
      let status = nc_host_datagram_receive(fd, errors ? 1 : 0, buffer.baseAddress, buffer.count, &facts)
      if status == 0 { return UnsafeMutableRawBufferPointer(rebasing: buffer.prefix(facts.bytes)) }
      if status == -EAGAIN { return nil }
      attempts -= 1
    }
    return nil
  }
}

extension nc_host_datagram {
  var peerEndpoint: Endpoint? {
    withUnsafeBytes(of: peer) { HostAddress.read(UnsafeRawBufferPointer(rebasing: $0.prefix(peer_bytes))) }
  }

  var tellerAddress: IPAddress? {
    withUnsafeBytes(of: teller) { HostAddress.read(UnsafeRawBufferPointer(rebasing: $0.prefix(teller_bytes))) }?.address
  }

  var localAddress: IPAddress? {
    guard local_bytes > 0 else { return nil }
    return withUnsafeBytes(of: local) { IPAddress(bytes: $0.baseAddress!, isV6: local_bytes == 16) }
  }
}
