internal import Glibc

/// socket(7): the level SOL_SOCKET. Names that Glibc's module lacks are numbers of asm-generic/socket.h.
extension SocketOptions {
  /// The buffers' sizes are bounded, and begin, as the machine's administrator has set them.
  struct BufferLimits: Sendable {
    /// net.core.wmem_max, rmem_max; bytes that an app may ask for (the kernel keeps twice as much).
    var sendMost: Int32 = 212_992
    var receiveMost: Int32 = 212_992
    /// net.core.wmem_default, rmem_default: of datagram sockets.
    var sendDatagrams: Int32 = 212_992
    var receiveDatagrams: Int32 = 212_992
    /// The middle of net.ipv4.tcp_wmem, tcp_rmem.
    var sendStream: Int32 = 16_384
    var receiveStream: Int32 = 131_072
    /// The last of net.ipv4.tcp_rmem.
    var receiveStreamMost: Int32 = 6_291_456

    /// This machine's; Linux's defaults where /proc does not tell.
    static let machine: BufferLimits = {
      var limits = BufferLimits()
      func read(_ path: String, field: Int = 0) -> Int32? {
        guard let file = fopen("/proc/sys/net/" + path, "re") else { return nil }
        defer { fclose(file) }
        var line = [CChar](repeating: 0, count: 128)
        guard fgets(&line, 128, file) != nil else { return nil }
        let fields = line.prefix { $0 != 0 }.split { $0 == 9 || $0 == 32 || $0 == 10 }
        guard field < fields.count else { return nil }
        return Int32(String(decoding: fields[field].map { UInt8(bitPattern: $0) }, as: UTF8.self))
      }
      limits.sendMost = read("core/wmem_max") ?? limits.sendMost
      limits.receiveMost = read("core/rmem_max") ?? limits.receiveMost
      limits.sendDatagrams = read("core/wmem_default") ?? limits.sendDatagrams
      limits.receiveDatagrams = read("core/rmem_default") ?? limits.receiveDatagrams
      limits.sendStream = read("ipv4/tcp_wmem", field: 1) ?? limits.sendStream
      limits.receiveStream = read("ipv4/tcp_rmem", field: 1) ?? limits.receiveStream
      limits.receiveStreamMost = read("ipv4/tcp_rmem", field: 2) ?? limits.receiveStreamMost
      return limits
    }()
  }

  /// socket(7): the kernel doubles what was asked for, to leave room for its own book-keeping. Compared without a sign, a
  /// negative size is the largest.
  private static func doubled(_ bytes: Int32, most: Int32, least: Int32) -> Int32 {
    let asked = min(UInt32(bitPattern: bytes), UInt32(most))
    return Int32(max(UInt64(asked) * 2, UInt64(least)))
  }

  static let socketLevel: OptionLevel = {
    let limits = BufferLimits.machine
    var rules: [Int32: OptionRule] = [:]
    for name in [
      SO_DONTROUTE, SO_BROADCAST, SO_KEEPALIVE, SO_OOBINLINE, SO_NO_CHECK, SO_REUSEPORT, SO_RXQ_OVFL, SO_WIFI_STATUS,
      43,  // SO_NOFCS
      45,  // SO_SELECT_ERR_QUEUE
      75,  // SO_RCVMARK
      82,  // SO_RCVPRIORITY
    ] {
      rules[name] = .flag
    }
    rules[SO_REUSEADDR] = .flag.with { $0.initialOfPings = 1 }
    rules[SO_DEBUG] = .off(EACCES)
    rules[SO_SNDBUF] = OptionRule(initial: limits.sendStream, initialOfDatagrams: limits.sendDatagrams) { value, _ in
      .keep(doubled(value, most: limits.sendMost, least: 4608))  // SOCK_MIN_SNDBUF
    }
    rules[SO_RCVBUF] = OptionRule(initial: limits.receiveStream, initialOfDatagrams: limits.receiveDatagrams) {
      value, _ in .keep(doubled(value, most: limits.receiveMost, least: 2304))  // SOCK_MIN_RCVBUF
    }
    rules[SO_PRIORITY] = OptionRule { value, _ in (0...6).contains(value) ? .keep(value) : .refuse(EPERM) }
    rules[SO_BSDCOMPAT] = OptionRule { _, _ in .ignore }
    rules[SO_SNDLOWAT] = .constant(1)
    rules[SO_RCVLOWAT] = OptionRule(initial: 1) { value, context in
      let asked = value < 0 ? .max : max(value, 1)
      return .keep(context.isStream ? min(asked, limits.receiveStreamMost / 2) : asked)
    }
    rules[SO_MARK] = .refused(EPERM)
    for name: Int32 in [SO_SNDBUFFORCE, SO_RCVBUFFORCE] { rules[name] = .refused(EPERM).unreadable }
    // SO_PASSCRED, SO_PASSSEC, SO_PASSPIDFD, SO_PASSRIGHTS: of unix sockets.
    for name: Int32 in [SO_PASSCRED, SO_PASSSEC, 76, 83] {
      rules[name] = .refused(EOPNOTSUPP).reading(.error(EOPNOTSUPP))
    }
    // SO_PEERGROUPS, SO_PEERPIDFD: likewise, but asked for differently.
    for name: Int32 in [59, 77] { rules[name] = .refused(ENOPROTOOPT).reading(.error(ENODATA)) }
    rules[SO_PEEK_OFF] = .any.starting(-1).onlyFor(.stream, else: EOPNOTSUPP)
    rules[SO_LOCK_FILTER] = .flag
    rules[SO_BUSY_POLL] = .range(0 ... .max)
    rules[48] = .constant(64)  // SO_BPF_EXTENSIONS: SKF_AD_MAX
    rules[49] = .any.starting(-1)  // SO_INCOMING_CPU
    rules[53] = OptionRule { _, _ in .ignore }.unreadable  // SO_CNX_ADVICE: the neighbour is reachable
    rules[56] = .constant(0)  // SO_INCOMING_NAPI_ID
    // SO_ZEROCOPY: with it on, an app waits for completions that a pair does not give.
    rules[60] = OptionRule { value, _ in
      value == 0 ? .keep(0) : .refuse(value == 1 ? EOPNOTSUPP : EINVAL)
    }.settableBy([.stream, .datagram], else: EOPNOTSUPP)
    rules[69] = .off(EPERM)  // SO_PREFER_BUSY_POLL
    rules[70] =
      OptionRule { value, _ in  // SO_BUSY_POLL_BUDGET
        value < 0 ? .refuse(EINVAL) : value == 0 ? .ignore : .refuse(EPERM)
      }.unreadable
    rules[72] = .range(0...3)  // SO_BUF_LOCK
    rules[73] = OptionRule { value, _ in .refuse(value < 0 ? EINVAL : EOPNOTSUPP) }  // SO_RESERVE_MEM: no memory cgroup
    rules[74] = OptionRule(initial: 1) { value, _ in  // SO_TXREHASH
      (-1...1).contains(value) ? .keep(value == -1 ? 1 : value) : .refuse(EINVAL)
    }.onlyFor(.stream, else: EOPNOTSUPP)
    // Filters and steering by programs of the app's: refused, for what arrives passes no kernel code of ours.
    rules[SO_ATTACH_FILTER] = OptionRule { _, context in  // struct sock_fprog has 16 bytes
      .refuse(context.isStream ? EPERM : context.length == 16 ? ENOPROTOOPT : EINVAL)
    }.reading(.nothing)
    rules[SO_DETACH_FILTER] = .refused(ENOENT).unreadable
    for name: Int32 in [50, 51, 52] { rules[name] = .refused(EINVAL).unreadable }  // SO_ATTACH_BPF and _REUSEPORT_
    rules[68] = .refused(EINVAL).unreadable  // SO_DETACH_REUSEPORT_BPF
    return OptionLevel(short: .refused, checksLengthFirst: true, rules: rules)
  }()
}
