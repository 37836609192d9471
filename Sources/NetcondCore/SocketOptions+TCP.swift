internal import Glibc

/// tcp(7): the level IPPROTO_TCP. Names that Glibc's module lacks are numbers of linux/tcp.h.
extension SocketOptions {
  static let tcpLevel: OptionLevel = {
    var rules: [Int32: OptionRule] = [:]
    for name: Int32 in [
      1,  // TCP_NODELAY
      3,  // TCP_CORK
    ] {
      rules[name] = .flag
    }
    rules[2] = OptionRule { value, _ in  // TCP_MAXSEG; 0: nothing of the app's
      value == 0 || (88...32_767).contains(value) ? .keep(value) : .refuse(EINVAL)
    }
    rules[4] = .range(1...32_767, initial: 7200)  // TCP_KEEPIDLE, seconds
    rules[5] = .range(1...32_767, initial: 75)  // TCP_KEEPINTVL, seconds
    rules[6] = .range(1...127, initial: 9)  // TCP_KEEPCNT
    rules[7] = .range(1...127, initial: 6)  // TCP_SYNCNT
    rules[8] = OptionRule(initial: 60) { value, _ in  // TCP_LINGER2, seconds; 0: the default
      .keep(value < 0 ? -1 : value == 0 ? 60 : min(value, 120))
    }
    rules[9] = OptionRule { value, _ in .keep(retransmissionSeconds(value)) }  // TCP_DEFER_ACCEPT
    rules[10] = OptionRule { value, context in  // TCP_WINDOW_CLAMP
      if value == 0 { return context.phase == .idle || context.phase == .bound ? .keep(0) : .refuse(EINVAL) }
      return .keep(max(value, 1152))
    }
    rules[12] = .flag.starting(1)  // TCP_QUICKACK
    rules[14] = .refused(EINVAL).unreadable  // TCP_MD5SIG
    rules[16] = .strictFlag  // TCP_THIN_LINEAR_TIMEOUTS
    rules[17] = OptionRule { value, _ in (0...1).contains(value) ? .ignore : .refuse(EINVAL) }  // TCP_THIN_DUPACK
    rules[18] = .range(0 ... .max)  // TCP_USER_TIMEOUT, milliseconds
    rules[19] = .refused(EPERM)  // TCP_REPAIR and its kin
    rules[20] = .refused(EPERM).reading(.error(EINVAL))
    rules[21] = OptionRule { _, context in
      .refuse(context.phase == .idle || context.phase == .bound ? EINVAL : EPERM)
    }.reading(.error(EINVAL))
    rules[22] = .refused(EINVAL).unreadable
    rules[23] = OptionRule { value, context in  // TCP_FASTOPEN: kept; servers have it off by default on Linux too
      let isOpen = context.phase != .connected && context.phase != .connecting
      return value >= 0 && isOpen ? .keep(min(value, 4096)) : .refuse(EINVAL)
    }
    rules[24] = .refused(EPERM)  // TCP_TIMESTAMP
    rules[25] = .any  // TCP_NOTSENT_LOWAT, bytes without a sign
    rules[26] = .refused(ENOPROTOOPT).reading(.nothing)  // TCP_CC_INFO: CUBIC has none
    rules[27] = .off(ENOPROTOOPT).with {  // TCP_SAVE_SYN: the stack keeps no SYN
      let refuses = $0.set
      $0.set = { value, context in (0...2).contains(value) ? refuses(value, context) : .refuse(EINVAL) }
    }
    rules[28] = .refused(ENOPROTOOPT).reading(.nothing)  // TCP_SAVED_SYN
    rules[29] = .refused(EPERM).reading(.error(EINVAL))  // TCP_REPAIR_WINDOW
    // TCP_FASTOPEN_CONNECT: as where net.ipv4.tcp_fastopen has no client bit.
    rules[30] = OptionRule { value, context in
      let isClosed = context.phase == .idle || context.phase == .bound
      guard (0...1).contains(value), isClosed else { return .refuse(EINVAL) }
      return value == 0 ? .keep(0) : .refuse(EOPNOTSUPP)
    }
    rules[32] = .refused(EINVAL).unreadable  // TCP_MD5SIG_EXT
    rules[33] = .refused(EINVAL).reading(.nothing)  // TCP_FASTOPEN_KEY
    rules[34] = OptionRule { value, context in  // TCP_FASTOPEN_NO_COOKIE
      let isOpen = context.phase != .connected && context.phase != .connecting
      return (0...1).contains(value) && isOpen ? .keep(value) : .refuse(EINVAL)
    }
    rules[35] = .refused(ENOPROTOOPT).reading(.error(EINVAL))  // TCP_ZEROCOPY_RECEIVE
    rules[36] = OptionRule { value, _ in  // TCP_INQ: a pair gives no such control message
      value == 0 ? .keep(0) : .refuse(value == 1 ? ENOPROTOOPT : EINVAL)
    }
    rules[37] = OptionRule { value, _ in  // TCP_TX_DELAY
      value == 0 ? .keep(0) : .refuse(value < 0 || value == .max ? EINVAL : ENOPROTOOPT)
    }
    rules[42] = .refused(EPERM).reading(.error(EPERM))  // TCP_AO_REPAIR
    rules[43] = .constant(0)  // TCP_IS_MPTCP
    return OptionLevel(short: .refused, checksLengthFirst: true, rules: rules)
  }()

  /// TCP_DEFER_ACCEPT is kept as a number of retransmissions and read as the seconds these take (secs_to_retrans,
  /// retrans_to_secs): 1, 3, 7, …, each twice as long as the one before, up to 120 seconds each.
  static func retransmissionSeconds(_ seconds: Int32) -> Int32 {
    guard seconds > 0 else { return 0 }
    var (timeout, period, count): (Int32, Int32, Int32) = (1, 1, 1)
    while seconds > period, count < 255 {
      timeout = min(timeout * 2, 120)
      period += timeout
      count += 1
    }
    return period
  }
}
