internal import CSocket
internal import Glibc
package import LwipGlue
package import NetcondRPC

/// The two ends of an intercepted socket: the app's end and the daemon's.
///
/// Theory of operation (shared/design/sockets.md): the app's end is all the app ever holds, from socket() to close().
/// "Not yet connected" is told by a full send buffer: before the app gets its end, the buffer is shrunk to the kernel's
/// least (4,608 bytes, SOCK_MIN_SNDBUF) and filled; draining it at the daemon's end makes the app's end writable, closing
/// with it unread gives the poll mask of a refused connection. Marks and names of the ends tell the library what the pair is
/// (docs/rpc.md).
enum Pair {
  /// Bytes an app may have written that the daemon has not read, once connected. Half a MiB was the best of those measured
  /// (datapath.md); the kernel caps it at net.core.wmem_max unless the daemon may override that.
  static let connectedSendBufferBytes: Int32 = 512 * 1024

  /// Bytes that wait for an app which receives much (twice the kernel's usual buffer; it doubles what it is given).
  static let wideBytes: Int32 = 212_992

  /// The buffer of each end of a datagram socket: net.core.rmem_default of Linux, as the kernel takes it before it doubles.
  static let datagramBufferBytes: Int32 = 106_496

  /// Makes a pair.
  /// - Returns: the daemon's end and the app's end, both blocking (the ring needs no O_NONBLOCK); or a negated errno.
  static func make(type: Int32) -> (daemon: Int32, app: Int32) {
    var ends: [Int32] = [-1, -1]
    guard socketpair(AF_UNIX, type | Int32(SOCK_CLOEXEC.rawValue), 0, &ends) == 0 else { return (-errno, -errno) }
    return (ends[0], ends[1])
  }

  static func close(_ pair: (daemon: Int32, app: Int32)) {
    Glibc.close(pair.daemon)
    Glibc.close(pair.app)
  }

  /// Makes the app's end unwritable. Returns how many bytes the daemon has to drain.
  static func fill(app: Int32) -> Int { fill(app: app, bytes: fillerBytes) }

  /// One message, which is one piece of the kernel's memory to make and to take away, and then a send buffer that is smaller.
  private static func fill(app: Int32, bytes: Int) -> Int {
    let filled = withUnsafeTemporaryAllocation(byteCount: bytes, alignment: 1) { filler in
      filler.initializeMemory(as: UInt8.self, repeating: 0)
      return send(app, filler.baseAddress, bytes, Int32(MSG_DONTWAIT) | Int32(MSG_NOSIGNAL))
    }
    setSendBuffer(app, 1)
    return max(0, filled)
  }

  /// The least message that fills an app's end, in bytes: measured once; where none does (no pair can be made), the
  /// longest. It depends on what sizes the kernel allocates: a little less than 4096 are kept in 8192.
  static let fillerBytes =
    stride(from: 512, through: largestFillerBytes, by: 256).first { bytes in
      measured { fill(app: $0.app, bytes: bytes) == bytes && isFull(app: $0.app) ? bytes : 0 } > 0
    } ?? largestFillerBytes

  /// What a program's library has to send.
  private static let largestFillerBytes = 8192

  private static func isFull(app: Int32) -> Bool {
    var byte: UInt8 = 0
    return send(app, &byte, 1, Int32(MSG_DONTWAIT) | Int32(MSG_NOSIGNAL)) < 0 && errno == EAGAIN
  }

  /// The kernel's memory that one accept record holds until it is taken: measured once, 0 where that fails.
  static let recordMemory = measured { pair in
    guard Descriptors.send(pair.daemon, nc_accept_record(), passing: pair.app) == 0 else { return 0 }
    return Int(nc_unread_memory(pair.daemon))
  }

  /// What `body` finds of a stream pair made for it; 0 where none can be made.
  private static func measured(_ body: ((daemon: Int32, app: Int32)) -> Int) -> Int {
    let pair = make(type: Int32(SOCK_STREAM.rawValue))
    guard pair.daemon >= 0 else { return 0 }
    defer { close(pair) }
    return body(pair)
  }

  /// Accept records sent on a listener's pair that no app has taken yet.
  static func unreadRecords(daemon: Int32) -> Int { Int(nc_unread_memory(daemon)) / max(1, recordMemory) }

  /// Puts a byte into an accepted connection that accept() takes out: closed before that, the app's end tells of bytes
  /// unread, thus ECONNRESET.
  static func markUnaccepted(daemon: Int32) -> Bool {
    var byte: UInt8 = 0
    return send(daemon, &byte, 1, Int32(MSG_DONTWAIT) | Int32(MSG_NOSIGNAL)) == 1
  }

  /// Takes the filler out again, which makes the app's end writable.
  static func drain(daemon: Int32, bytes: Int) {
    var left = bytes
    withUnsafeTemporaryAllocation(byteCount: 8192, alignment: 1) { scratch in
      while left > 0 {
        let count = recv(daemon, scratch.baseAddress, min(left, scratch.count), Int32(MSG_DONTWAIT))
        if count <= 0 { return }
        left -= count
      }
    }
  }

  static func setSendBuffer(_ fd: Int32, _ bytes: Int32) {
    var bytes = bytes
    let size = socklen_t(MemoryLayout<Int32>.size)
    if bytes == 1 || setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &bytes, size) != 0 {
      setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, size)
    }
  }

  /// The kernel's number of a socket, the same for all its descriptors (SO_COOKIE, Linux 5.11 for unix); nil for what is
  /// no socket.
  static func cookie(_ fd: Int32) -> UInt64? {
    var cookie: UInt64 = 0
    var size = socklen_t(MemoryLayout<UInt64>.size)
    return getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &size) == 0 ? cookie : nil
  }

  /// Whether the other end is gone in all processes, or shut down both ways (POLLHUP).
  static func isHungUp(_ fd: Int32) -> Bool {
    var poll = pollfd(fd: fd, events: 0, revents: 0)
    return Glibc.poll(&poll, 1, 0) == 1 && poll.revents & Int16(POLLHUP) != 0
  }

  /// The name that an end was bound to, or the other end was; nil for none of this protocol's.
  static func name(_ fd: Int32, ofOtherEnd: Bool) -> nc_name? { readName(fd, ofOtherEnd ? getpeername : getsockname) }

  /// Binds an end to the abstract name that carries `name`. Failure (the name exists, no memory) leaves the end unnamed,
  /// and the library then asks by RPC.
  @discardableResult
  static func bindName(_ fd: Int32, _ name: nc_name) -> Bool {
    var name = name
    withUnsafeMutableBytes(of: &name.magic) { magic in
      for (index, byte) in "\0netcond".utf8.enumerated() { magic[index] = byte }
    }
    name.version = UInt8(NC_RPC_VERSION)
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    let size = MemoryLayout<nc_name>.size
    withUnsafeMutableBytes(of: &address.sun_path) { path in
      withUnsafeBytes(of: &name) { path.copyMemory(from: $0) }
    }
    let length = socklen_t(MemoryLayout<sa_family_t>.size + size)
    return withUnsafePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { bind(fd, $0, length) == 0 }
    }
  }

  /// Local and remote address of an app's end of a direct connection of this daemon's; nil for any other.
  static func directNames(_ fd: Int32, nonce: UInt64) -> (local: nc_address, remote: nc_address)? {
    if let name = readName(fd, getpeername), name.state == UInt8(NC_STATE_DIRECT.rawValue), name.daemon_nonce == nonce {
      return (name.local, name.remote)
    }
    if let name = readName(fd, getsockname), name.state == UInt8(NC_STATE_DIRECT.rawValue), name.daemon_nonce == nonce {
      return (name.remote, name.local)
    }
    return nil
  }

  /// Whether `fd` is an end of a daemon's pair, be it of this run or another.
  static func isKnown(_ fd: Int32) -> Bool {
    markedFamily(fd) != nil || readName(fd, getsockname) != nil || readName(fd, getpeername) != nil
  }

  /// Tells the library that the connection of this end stands (NC_STANDING); false where that cannot be.
  static func markStanding(app fd: Int32) -> Bool {
    var priority = Int32(NC_STANDING)
    return setsockopt(fd, SOL_SOCKET, SO_PRIORITY, &priority, socklen_t(MemoryLayout<Int32>.size)) == 0
  }

  /// The family that marks tell, of an app's end of a stream; nil of all else.
  static func markedFamily(_ fd: Int32) -> Int32? {
    var word: Int32 = 0
    var size = socklen_t(MemoryLayout<Int32>.size)
    guard getsockopt(fd, SOL_SOCKET, SO_INCOMING_CPU, &word, &size) == 0 else { return nil }
    let marks = ~word
    guard marks & Int32(NC_MARK_STREAM_MASK) == Int32(NC_MARK_STREAM) else { return nil }
    return marks & Int32(NC_MARK_V6) != 0 ? AF_INET6 : AF_INET
  }

  private static func readName(
    _ fd: Int32, _ ask: (Int32, UnsafeMutablePointer<sockaddr>, UnsafeMutablePointer<socklen_t>) -> Int32
  ) -> nc_name? {
    var address = sockaddr_un()
    var length = socklen_t(MemoryLayout<sockaddr_un>.size)
    let status = withUnsafeMutablePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { ask(fd, $0, &length) }
    }
    let size = MemoryLayout<nc_name>.size
    guard status == 0, address.sun_family == sa_family_t(AF_UNIX),
      Int(length) == MemoryLayout<sa_family_t>.size + size
    else { return nil }
    return withUnsafeBytes(of: &address.sun_path) { path in
      path.starts(with: "\0netcond".utf8) ? path.loadUnaligned(as: nc_name.self) : nil
    }
  }
}

extension nc_address {
  /// Link-local addresses get the scope that programs know the network's interface by.
  package init(_ endpoint: Endpoint) {
    self.init()
    family = UInt16(endpoint.address.isV6 ? AF_INET6 : AF_INET)
    port = endpoint.port.bigEndian
    if endpoint.address.needsScope { scope_id = UInt32(NC_INTERFACE_INDEX_NETWORK) }
    withUnsafeMutableBytes(of: &bytes) { target in endpoint.address.withBytes { target.copyMemory(from: $0) } }
  }

  /// nil where there is no address, or one of another family. v4-mapped IPv6 becomes IPv4.
  package var endpoint: Endpoint? {
    guard family == AF_INET || family == AF_INET6 else { return nil }
    let address = withUnsafeBytes(of: bytes) { IPAddress(bytes: $0.baseAddress!, isV6: family == AF_INET6) }
    return Endpoint(address: address.mappedV4 ?? address, port: UInt16(bigEndian: port))
  }

  /// What Linux says of the scope at bind(): an errno, or 0. Elsewhere than in link-local addresses it is ignored.
  var bindScopeError: Int32 {
    guard endpoint?.address.needsScope == true else { return 0 }
    switch scope_id {
    case 0: return EINVAL
    case UInt32(NC_INTERFACE_INDEX_NETWORK): return 0
    case UInt32(NC_INTERFACE_INDEX_LO): return EADDRNOTAVAIL
    default: return ENODEV
    }
  }

  /// The same at connect(); `isBound`: the socket is bound to a link-local address or to the interface, which then
  /// stands for the scope.
  func connectScopeError(isBound: Bool) -> Int32 {
    guard endpoint?.address.needsScope == true else { return 0 }
    switch scope_id {
    case 0: return isBound ? 0 : EINVAL
    case UInt32(NC_INTERFACE_INDEX_NETWORK): return 0
    default: return isBound ? EINVAL : ENETUNREACH
    }
  }
}
