internal import Glibc
internal import NetcondRPC

/// An option that an app has set, for the host's socket that may come to stand behind its own.
struct HostOption {
  let level: Int32
  let name: Int32
  let value: [UInt8]

  /// Options that are passed on, each of which any user may set (socket(7), tcp(7), ip(7), ipv6(7)); the value has been
  /// judged by `SocketOptions` before, so that the daemon's privileges are not lent.
  private static let passed: [Int32: Set<Int32>] = [
    SOL_SOCKET: [
      SO_REUSEADDR, SO_REUSEPORT, SO_KEEPALIVE, SO_BROADCAST, SO_OOBINLINE, SO_SNDBUF, SO_RCVBUF, SO_PRIORITY,
    ],
    // linux/tcp.h: NODELAY, MAXSEG, CORK, KEEPIDLE, KEEPINTVL, KEEPCNT, SYNCNT, LINGER2, DEFER_ACCEPT, WINDOW_CLAMP,
    // QUICKACK, USER_TIMEOUT, NOTSENT_LOWAT
    Int32(IPPROTO_TCP): [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 18, 25],
    // linux/in.h: TOS, TTL, MTU_DISCOVER
    Int32(IPPROTO_IP): [1, 2, 10],
    // linux/in6.h: UNICAST_HOPS, MTU_DISCOVER, DONTFRAG, TCLASS
    Int32(IPPROTO_IPV6): [16, 23, 62, 67],
  ]

  /// Options that only the host's socket can answer: TCP_INFO, IP_MTU, IPV6_MTU.
  private static let asked: [Int32: Set<Int32>] = [
    Int32(IPPROTO_TCP): [11], Int32(IPPROTO_IP): [14], Int32(IPPROTO_IPV6): [24],
  ]

  /// nil where the option is not one that is passed on.
  init?(level: Int32, name: Int32, value: UnsafeRawBufferPointer) {
    guard Self.passed[level]?.contains(name) == true else { return nil }
    self.level = level
    self.name = name
    self.value = Array(value)
  }

  private init(socketFlag name: Int32, isOn: Bool) {
    level = SOL_SOCKET
    self.name = name
    value = [isOn ? 1 : 0, 0, 0, 0]
  }

  static let reuseAddress = HostOption(socketFlag: SO_REUSEADDR, isOn: true)
  static let noReusePort = HostOption(socketFlag: SO_REUSEPORT, isOn: false)

  /// Sets it. Returns 0 or an errno.
  @discardableResult func apply(to fd: Int32, isV6: Bool) -> Int32 {
    // IPv4 on an IPv6 socket of the app's: Linux keeps such an option without using it.
    if level == Int32(IPPROTO_IPV6), !isV6 { return 0 }
    return setsockopt(fd, level, name, value, socklen_t(value.count)) == 0 ? 0 : errno
  }

  /// Takes the place of an earlier value.
  func replace(in options: inout [HostOption]) {
    options.removeAll { $0.level == level && $0.name == name }
    options.append(self)
  }

  /// Reads an option from the host's socket into `out`: its length, or a negated errno; nil where the host's socket is
  /// not the one to ask.
  static func read(
    _ fd: Int32, isV6: Bool, level: Int32, name: Int32, into out: UnsafeMutableRawBufferPointer
  ) -> Int? {
    guard passed[level]?.contains(name) == true || asked[level]?.contains(name) == true else { return nil }
    if level == Int32(IPPROTO_IPV6), !isV6 { return nil }
    var length = socklen_t(out.count)
    return getsockopt(fd, level, name, out.baseAddress, &length) == 0 ? Int(length) : -Int(errno)
  }
}

/// Options of intercepted sockets that a host's socket serves.
extension Daemon {
  /// Passes on an option that `SocketOptions` has taken. Returns 0 or an errno.
  func passOption(
    level: Int32, name: Int32, value: UnsafeRawBufferPointer, of socket: UnsafeMutablePointer<Socket>
  ) -> Int32 {
    guard networkTable[socket.pointee.network].hostPolicy.isUsed,
      let option = HostOption(level: level, name: name, value: value)
    else { return 0 }
    option.replace(in: &socket.pointee.hostOptions)
    return socket.pointee.host.map { option.apply(to: $0.fd, isV6: $0.isV6) } ?? 0
  }

  /// The same for a datagram socket, whose companions are all that may refuse it.
  func passOption(
    level: Int32, name: Int32, value: UnsafeRawBufferPointer, of socket: UnsafeMutablePointer<DatagramSocket>
  ) {
    guard networkTable[socket.pointee.network].hostPolicy.isUsed,
      let option = HostOption(level: level, name: name, value: value)
    else { return }
    option.replace(in: &socket.pointee.hostOptions)
    for host in socket.pointee.hosts { option.apply(to: host.fd, isV6: host.isV6) }
  }

  /// Answers an option from the host's socket; nil where there is none, or where it does not tell.
  func readHostOption(
    level: Int32, name: Int32, of socket: UnsafeMutablePointer<Socket>, _ reply: inout nc_reply
  ) -> Int32? {
    guard let host = socket.pointee.host else { return nil }
    return readHostOption(level: level, name: name, of: host.fd, isV6: host.isV6, &reply)
  }

  /// The same for the socket of the host's that a datagram socket's peer is reached by.
  func readHostOption(
    level: Int32, name: Int32, of socket: UnsafeMutablePointer<DatagramSocket>, _ reply: inout nc_reply
  ) -> Int32? {
    guard socket.pointee.peerIsOutside, let isV6 = socket.pointee.peer?.address.isV6,
      let host = socket.pointee.hosts.first(where: { $0.isV6 == isV6 })
    else { return nil }
    return readHostOption(level: level, name: name, of: host.fd, isV6: isV6, &reply)
  }

  private func readHostOption(
    level: Int32, name: Int32, of fd: Int32, isV6: Bool, _ reply: inout nc_reply
  ) -> Int32? {
    let count = withUnsafeMutableBytes(of: &reply.data) {
      HostOption.read(fd, isV6: isV6, level: level, name: name, into: $0)
    }
    guard let count else { return nil }
    guard count >= 0 else { return Int32(-count) }
    reply.argument.0 = Int32(count)
    return 0
  }
}
