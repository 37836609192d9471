internal import Glibc

/// Options whose values are structs or text, or that stand for one another.
extension SocketOptions {
  /// Sets an option of this file; nil where it is none. Lengths are checked as Linux does, before the pointer.
  mutating func setStructure(
    level: Int32, name: Int32, data: UnsafeRawBufferPointer?, length: Int, context: OptionContext
  ) -> Int32? {
    switch Key(level: level, name: name) {
    case .socket(SO_LINGER), .socket(61), .socket(47), .socket(37), .socket(65), .socket(29), .socket(35), .socket(63),
      .socket(64), .socket(62):
      if length < 4 { return EINVAL }
      guard let data else { return EFAULT }
      return setSocketStructure(name, data, context)
    case .socket(SO_BINDTODEVICE): return setInterface(data, length, context)
    case .tcp(13):  // TCP_CONGESTION
      let unknown = Self.checkName(data, length, knows: ["cubic"])
      let isReno = unknown != 0 && Self.checkName(data, length, knows: ["reno"]) == 0
      if unknown == 0 || isReno { asksForReno = isReno }
      return isReno ? 0 : unknown
    case .tcp(31): return Self.checkName(data, length, knows: [])  // TCP_ULP
    case .ip(32): return context.isStream ? nil : setMulticastInterface(data, length, context)
    default: return nil
    }
  }

  private mutating func setSocketStructure(
    _ name: Int32, _ data: UnsafeRawBufferPointer, _ context: OptionContext
  ) -> Int32 {
    let first = data.loadUnaligned(as: Int32.self)
    switch name {
    case SO_LINGER:
      guard data.count >= 8 else { return EINVAL }
      lingers = first != 0
      if lingers {
        let seconds = data.loadUnaligned(fromByteOffset: 4, as: Int32.self)
        // A negative time is the longest: LONG_MAX ticks, of which Linux at 250 Hz shows the lower 32 bits in seconds.
        lingerSeconds = seconds < 0 ? Int32(truncatingIfNeeded: Int.max / 250) : seconds
      }
    case 61:  // SO_TXTIME
      guard data.count == 8 else { return EINVAL }
      let flags = data.loadUnaligned(fromByteOffset: 4, as: UInt32.self)
      guard flags & ~3 == 0 else { return EINVAL }
      guard first == CLOCK_MONOTONIC else { return EPERM }
      transmitTime = (first, flags)
    case 47:  // SO_MAX_PACING_RATE: 32 bits all set are no limit either
      pacingRate =
        data.count >= 8
        ? data.loadUnaligned(as: UInt64.self) : first == -1 ? .max : UInt64(UInt32(bitPattern: first))
    case 37, 65:  // SO_TIMESTAMPING: there is no clock of a link to ask
      return first == 0 ? 0 : first & ~0x3ffff != 0 ? EINVAL : EOPNOTSUPP
    case 62:  // SO_BINDTOIFINDEX
      guard first >= 0 else { return EINVAL }
      return bindInterface(first)
    default:  // SO_TIMESTAMP and its kin: one at a time
      timestampOption = first != 0 ? name : 0
    }
    return 0
  }

  /// Only who is privileged may let go of an interface.
  private mutating func bindInterface(_ index: Int32) -> Int32 {
    guard boundInterface == 0 else { return EPERM }
    boundInterface = index
    return 0
  }

  /// SO_BINDTODEVICE: a name of up to 15 bytes; none unbinds.
  private mutating func setInterface(_ data: UnsafeRawBufferPointer?, _ length: Int, _ context: OptionContext) -> Int32
  {
    guard length >= 0 else { return EINVAL }
    guard let data else { return EFAULT }
    let text = String(decoding: data.prefix(min(length, 15)).prefix { $0 != 0 }, as: UTF8.self)
    if text.isEmpty { return bindInterface(0) }
    guard let interface = context.interfaces.first(where: { $0.name == text }) else { return ENODEV }
    return bindInterface(interface.index)
  }

  /// An option that is a name: known, ENOENT, or EINVAL for nothing at all.
  private static func checkName(_ data: UnsafeRawBufferPointer?, _ length: Int, knows: [String]) -> Int32 {
    guard length >= 1 else { return EINVAL }
    guard let data else { return EFAULT }
    let text = String(decoding: data.prefix(15).prefix { $0 != 0 }, as: UTF8.self)
    return knows.contains(text) ? 0 : ENOENT
  }

  /// IP_MULTICAST_IF: an address, struct ip_mreq or struct ip_mreqn.
  private mutating func setMulticastInterface(
    _ data: UnsafeRawBufferPointer?, _ length: Int, _ context: OptionContext
  ) -> Int32 {
    guard length >= 4 else { return EINVAL }
    guard let data else { return EFAULT }
    let address = data.loadUnaligned(fromByteOffset: length >= 8 ? 4 : 0, as: UInt32.self)
    let index = length >= 12 ? data.loadUnaligned(fromByteOffset: 8, as: Int32.self) : 0
    if index != 0 {
      guard context.hasInterface(index: index) else { return EADDRNOTAVAIL }
    } else if address != 0, !context.ownsV4(address) {
      return EADDRNOTAVAIL
    }
    values[.ip(32)] = Int32(bitPattern: address)
    return 0
  }

  /// Reads an option of this file; nil where it is none.
  func getStructure(
    level: Int32, name: Int32, into out: UnsafeMutableRawBufferPointer, capacity: Int, context: OptionContext
  ) -> Int? {
    switch Key(level: level, name: name) {
    case .socket(SO_LINGER): return give([lingers ? 1 : 0, lingerSeconds] as [Int32], out)
    case .socket(17): return give([0, -1, -1] as [Int32], out)  // SO_PEERCRED: nobody
    case .socket(61): return give([transmitTime.clock, Int32(bitPattern: transmitTime.flags)], out)
    case .socket(37), .socket(65): return give([0, 0] as [Int32], out)
    case .socket(47):
      let short = [UInt32(clamping: pacingRate)]
      return capacity < 8 ? give(short, out) : give([pacingRate], out)
    case .socket(55):  // SO_MEMINFO: sizes; what is in the buffers is not the kernel's memory
      let (receive, send) = (value(.socket(SO_RCVBUF)), value(.socket(SO_SNDBUF)))
      return give([0, receive, 0, send, 0, 0, 0, 0, 0] as [Int32], out)
    case .socket(71):  // SO_NETNS_COOKIE
      return capacity == 8 ? give([context.networkNumber], out) : -Int(EINVAL)
    case .socket(29), .socket(35), .socket(63), .socket(64):
      // SO_TIMESTAMP_NEW does not look at the unit (sk_getsockopt).
      let isOn = timestampOption == name || name == 63 && timestampOption == 64
      return give([isOn ? 1 : 0] as [Int32], out)
    case .socket(62): return give([boundInterface], out)  // SO_BINDTOIFINDEX
    case .socket(SO_BINDTODEVICE): return getInterface(out, context)
    case .tcp(13):
      let name = Array((asksForReno ? "reno" : "cubic").utf8)
      return give(name + [UInt8](repeating: 0, count: 16 - name.count), out)
    case .tcp(31), .tcp(33): return 0
    case .ipv6(6): return kind.transport == .stream ? 0 : nil
    case .ipv6(61):  // IPV6_PATHMTU: an address, and the MTU (struct ip6_mtuinfo)
      guard capacity >= 32 else { return -Int(EINVAL) }
      guard let mtu = context.pathMTU else { return -Int(ENOTCONN) }
      return give([Int32](repeating: 0, count: 7) + [mtu], out)
    default: return nil
    }
  }

  private func getInterface(_ out: UnsafeMutableRawBufferPointer, _ context: OptionContext) -> Int {
    guard boundInterface != 0 else { return 0 }
    guard out.count >= 16 else { return -Int(EINVAL) }
    guard let interface = context.interfaces.first(where: { $0.index == boundInterface }) else { return -Int(ENODEV) }
    return give(Array(interface.name.utf8) + [0], out)
  }

  private func give<Element>(_ elements: [Element], _ out: UnsafeMutableRawBufferPointer) -> Int {
    elements.withUnsafeBytes { Self.copy($0, to: out, room: out.count) }
  }
}
