import Glibc
@testable import NetcondCore
import Testing

/// A kind of socket, and the level that its options are asked of.
struct OptionLevelCase: Sendable, CustomTestStringConvertible {
  let kindName: String
  let family: Int32
  let type: Int32
  let proto: Int32
  let kind: SocketKind
  let levelName: String
  let level: Int32
  var testDescription: String { "\(levelName) of \(kindName)" }

  static let all: [OptionLevelCase] = {
    let levels: [(String, Int32)] = [
      ("SOL_SOCKET", SOL_SOCKET), ("IPPROTO_TCP", 6), ("IPPROTO_IP", 0), ("IPPROTO_IPV6", 41), ("IPPROTO_UDP", 17),
      ("SOL_RAW", 255),
    ]
    let (stream, datagram) = (Int32(SOCK_STREAM.rawValue), Int32(SOCK_DGRAM.rawValue))
    let kinds: [(String, Int32, Int32, Int32, SocketKind.Transport)] = [
      ("TCP over IPv4", AF_INET, stream, 0, .stream), ("TCP over IPv6", AF_INET6, stream, 0, .stream),
      ("UDP over IPv4", AF_INET, datagram, 0, .datagram), ("UDP over IPv6", AF_INET6, datagram, 0, .datagram),
      ("ICMP", AF_INET, datagram, Int32(IPPROTO_ICMP), .ping), ("ICMPv6", AF_INET6, datagram, 58, .ping),
    ]
    return kinds.flatMap { name, family, type, proto, transport in
      levels.map {
        OptionLevelCase(
          kindName: name, family: family, type: type, proto: proto,
          kind: SocketKind(transport: transport, isV6: family == AF_INET6), levelName: $0.0, level: $0.1)
      }
    }
  }()

  /// Unprivileged echo sockets are the administrator's choice (net.ipv4.ping_group_range); a machine may lack IPv6.
  static let available = all.filter {
    let fd = socket($0.family, $0.type, $0.proto)
    if fd >= 0 { close(fd) }
    return fd >= 0
  }
}

/// The same question to a kernel socket and to the daemon's table, for every option.
@Suite struct SocketOptionsTests {
  private static let values: [Int32] = [
    .min, -2, -1, 0, 1, 2, 3, 4, 5, 6, 7, 16, 63, 64, 88, 100, 127, 128, 252, 255, 256, 1151, 1152, 1280, 2303, 32_767,
    32_768, 65_535, 65_536, 100_000, 500_000, .max,
  ]
  private static let names: ClosedRange<Int32> = 0...104

  /// What the table does not answer as this kernel does, and why. All else must be equal.
  private static func isIncomparable(_ level: Int32, _ name: Int32) -> Bool {
    switch level {
    case SOL_SOCKET:
      return [
        57, 71,  // SO_COOKIE, SO_NETNS_COOKIE: another number for each
        3, 4, 20, 21, 28, 30, 38, 39, 66, 67,  // answered by the library
        // Refused: timestamps of a link, MSG_ZEROCOPY, programs of the app's, SO_PEEK_OFF of datagrams.
        37, 65, 60, 26, 50, 52, 42,
        16, 34, 73, 74, 75, 76, 77, 80, 82, 83, 70,  // not in all kernels, or not alike
      ].contains(name)
        || geteuid() == 0 && [1, 12, 32, 33, 36, 69].contains(name)
    case 6:
      return [
        11, 24, 35,  // TCP_INFO, TCP_TIMESTAMP, TCP_ZEROCOPY_RECEIVE: numbers that change
        13, 26,  // the congestion control is Reno, whatever the kernel's is
        14, 27, 30, 32, 33, 36, 37,  // refused: no signatures, no saved SYN, no TCP_FASTOPEN_CONNECT, no TCP_INQ
        38, 39, 40, 41, 42, 44, 45, 46,  // not in all kernels
      ].contains(name)
        || geteuid() == 0 && [19, 20, 29].contains(name)
    case 0:
      return [4, 51, 52, 80].contains(name)  // IP_OPTIONS is refused; the others are not in all kernels
        || [35, 36, 37, 38, 39, 40, 41, 42, 43, 44, 45, 46, 47, 48].contains(name)  // memberships: `DatagramSocket`
        || geteuid() == 0 && [16, 17, 19, 64, 65, 66, 67, 83, 96, 97, 98, 99].contains(name)
    case 41:
      return [6, 17, 50, 32, 77, 78, 80].contains(name)  // the machine's own; a sticky source is refused
        || [20, 21, 42, 43, 44, 45, 46, 47, 48].contains(name)
        || geteuid() == 0 && [27, 28, 34, 35, 54, 55, 59, 64, 65, 68, 69, 75].contains(name)
    case 17: return [1, 100, 101, 102, 103].contains(name)  // refused: corking, encapsulation, segmentation
    default: return false
    }
  }

  private static func names(_ test: OptionLevelCase) -> [Int32] {
    names.filter { !isIncomparable(test.level, $0) }
  }

  /// As on this machine: 127.0.0.0/8 is its own.
  private static var context: OptionContext {
    var context = OptionContext()
    context.ownsV4 = { UInt32(bigEndian: $0) >> 24 == 127 }
    return context
  }

  private func withKernelSocket<Result>(_ test: OptionLevelCase, _ body: (Int32) throws -> Result) throws -> Result {
    let fd = socket(test.family, test.type | Int32(SOCK_CLOEXEC.rawValue), test.proto)
    try #require(fd >= 0)
    defer { close(fd) }
    return try body(fd)
  }

  private func describe(_ bytes: [UInt8], _ count: Int) -> String { "\(bytes.prefix(count))" }

  private func kernelGet(_ fd: Int32, _ test: OptionLevelCase, _ name: Int32, room: Int = 256) -> String {
    var out = [UInt8](repeating: 0, count: 256)
    var size = socklen_t(room)
    let status = getsockopt(fd, test.level, name, &out, &size)
    return status == 0 ? describe(out, Int(size)) : "errno \(errno)"
  }

  private func ownGet(_ options: SocketOptions, _ test: OptionLevelCase, _ name: Int32, room: Int = 256) -> String {
    var out = [UInt8](repeating: 0, count: 256)
    let count = out.withUnsafeMutableBytes { options.get(level: test.level, name: name, into: $0, capacity: room) }
    return count >= 0 ? describe(out, count) : "errno \(-count)"
  }

  @Test(arguments: OptionLevelCase.available) func `begins with the kernel's values`(test: OptionLevelCase) throws {
    var differences: [String] = []
    try withKernelSocket(test) { fd in
      for name in Self.names(test) {
        for room in [0, 1, 2, 3, 4, 5, 256] {
          let (kernel, own) = (
            kernelGet(fd, test, name, room: room), ownGet(SocketOptions(test.kind), test, name, room: room)
          )
          if own != kernel { differences.append("\(name) into \(room) bytes: \(own); kernel: \(kernel)") }
        }
      }
    }
    #expect(differences.prefix(20) == [])
  }

  @Test(arguments: OptionLevelCase.available) func `takes and gives back what the kernel does`(
    test: OptionLevelCase
  ) throws {
    var differences: [String] = []
    for name in Self.names(test) {
      for value in Self.values {
        var value = value
        let kernel = try withKernelSocket(test) { fd in
          let code = setsockopt(fd, test.level, name, &value, 4) == 0 ? 0 : errno
          return "errno \(code), then \(kernelGet(fd, test, name))"
        }
        var options = SocketOptions(test.kind)
        let code = withUnsafeBytes(of: &value) {
          options.set(level: test.level, name: name, data: $0, context: Self.context)
        }
        let own = "errno \(code), then \(ownGet(options, test, name))"
        if own != kernel { differences.append("\(name) = \(value): \(own); kernel: \(kernel)") }
      }
    }
    #expect(differences.prefix(20) == [])
  }

  @Test(arguments: OptionLevelCase.available) func `takes values of the lengths that the kernel takes`(
    test: OptionLevelCase
  ) throws {
    var differences: [String] = []
    let bytes: [UInt8] = [1] + [UInt8](repeating: 0, count: 47)
    for name in Self.names(test) {
      for length in [0, 1, 2, 3, 5, 8, 12, 20, 40] {
        for isNull in [false, true] {
          let kernel = try withKernelSocket(test) { fd in
            let status = setsockopt(fd, test.level, name, isNull ? nil : bytes, socklen_t(length))
            return "errno \(status == 0 ? 0 : errno), then \(kernelGet(fd, test, name))"
          }
          var options = SocketOptions(test.kind)
          let code = bytes.withUnsafeBytes {
            // No pointer and no bytes is nothing, not a null pointer: the library passes it so.
            let data = isNull && length > 0 ? nil : UnsafeRawBufferPointer(rebasing: $0.prefix(length))
            return options.set(level: test.level, name: name, data: data, length: length)
          }
          let own = "errno \(code), then \(ownGet(options, test, name))"
          if own != kernel {
            differences.append("\(name), \(length) bytes\(isNull ? " at NULL" : ""): \(own); kernel: \(kernel)")
          }
        }
      }
    }
    #expect(differences.prefix(20) == [])
  }

  // MARK: Options that touch others

  private func set(_ options: inout SocketOptions, _ level: Int32, _ name: Int32, _ value: Int32) -> Int32 {
    withUnsafeBytes(of: value) { options.set(level: level, name: name, data: $0) }
  }

  private static let stream = OptionLevelCase.all[0]

  /// Sets several options on a kernel socket and on the table, then reads all of them.
  private func compare(_ sequence: [(Int32, Int32, Int32)]) throws {
    var options = SocketOptions(Self.stream.kind)
    try withKernelSocket(Self.stream) { fd in
      for (level, name, value) in sequence {
        var value = value
        let code = setsockopt(fd, level, name, &value, 4) == 0 ? 0 : errno
        #expect(set(&options, level, name, value) == code, "\(level) \(name) = \(value)")
        for (other, read, _) in sequence + [(SOL_SOCKET, SO_PRIORITY, 0), (SOL_SOCKET, 72, 0)] {
          var out: Int32 = -77
          var size = socklen_t(4)
          #expect(getsockopt(fd, other, read, &out, &size) == 0)
          var own: Int32 = -77
          _ = withUnsafeMutableBytes(of: &own) { options.get(level: other, name: read, into: $0) }
          #expect(own == out, "\(other) \(read) after \(level) \(name) = \(value)")
        }
      }
    }
  }

  @Test func `options that set others do so as the kernel's`() throws {
    try compare([(0, 1, 0x10), (0, 1, 0xb8), (0, 1, 8), (SOL_SOCKET, SO_PRIORITY, 3), (0, 1, 0)])  // IP_TOS
    try compare([(SOL_SOCKET, SO_RCVBUF, 5000), (SOL_SOCKET, SO_SNDBUF, 5000)])  // SO_BUF_LOCK
    try compare([
      (SOL_SOCKET, 29, 1), (SOL_SOCKET, 35, 1), (SOL_SOCKET, 63, 1), (SOL_SOCKET, 64, 1), (SOL_SOCKET, 29, 0),
    ])
    try compare([(6, 8, -5), (6, 8, 0), (6, 9, 5), (6, 9, 0), (6, 2, 1000), (6, 2, 0)])
  }

  @Test(arguments: [(0, 0), (0, 5), (1, 0), (1, 30), (7, 30), (-1, 2)] as [(Int32, Int32)])
  func `SO_LINGER is as the kernel's`(isOn: Int32, seconds: Int32) throws {
    let pair = [isOn, seconds]
    let kernel = try withKernelSocket(Self.stream) { fd in
      #expect(setsockopt(fd, SOL_SOCKET, SO_LINGER, pair, 8) == 0)
      var out: [Int32] = [-1, -1]
      var size = socklen_t(8)
      #expect(getsockopt(fd, SOL_SOCKET, SO_LINGER, &out, &size) == 0)
      return out
    }
    var options = SocketOptions(Self.stream.kind)
    let code = pair.withUnsafeBytes { options.set(level: SOL_SOCKET, name: SO_LINGER, data: $0) }
    #expect(code == 0)
    var out: [Int32] = [-1, -1]
    let count = out.withUnsafeMutableBytes { options.get(level: SOL_SOCKET, name: SO_LINGER, into: $0) }
    #expect(count == 8)
    #expect(out == kernel)
    #expect(options.resetsOnClose == (kernel[0] != 0 && kernel[1] == 0))
  }

  @Test func `SO_BINDTODEVICE knows the network's interfaces, and holds on`() {
    var options = SocketOptions(Self.stream.kind)
    var context = OptionContext()
    context.interfaces = [.init(name: "lo", index: 1), .init(name: "nc0", index: 2)]
    func bind(_ name: String) -> Int32 {
      Array(name.utf8).withUnsafeBytes {
        options.set(level: SOL_SOCKET, name: SO_BINDTODEVICE, data: $0, context: context)
      }
    }
    #expect(bind("eth0") == ENODEV)
    #expect(bind("") == 0)
    #expect(bind("nc0") == 0)
    #expect(bind("lo") == EPERM)
    #expect(bind("") == EPERM)
    var out = [UInt8](repeating: 9, count: 32)
    let count = out.withUnsafeMutableBytes {
      options.get(level: SOL_SOCKET, name: SO_BINDTODEVICE, into: $0, context: context)
    }
    #expect(out.prefix(count) == [0x6e, 0x63, 0x30, 0])
    let small = out.withUnsafeMutableBytes {
      options.get(level: SOL_SOCKET, name: SO_BINDTODEVICE, into: $0, capacity: 8, context: context)
    }
    #expect(small == -Int(EINVAL))
  }

  @Test func `the congestion control is CUBIC; Reno may be asked for, and no other`() {
    var options = SocketOptions(Self.stream.kind)
    for (name, status, after) in [
      ("bbr", ENOENT, "cubic"), ("reno", 0, "reno"), ("", EINVAL, "reno"), ("cubic", 0, "cubic"),
    ] {
      let code = Array(name.utf8).withUnsafeBytes { options.set(level: 6, name: 13, data: $0) }
      #expect(code == status, "\(name)")
      var out = [UInt8](repeating: 9, count: 16)
      let count = out.withUnsafeMutableBytes { options.get(level: 6, name: 13, into: $0) }
      #expect(count == 16)
      #expect(String(decoding: out.prefix { $0 != 0 }, as: UTF8.self) == after)
    }
  }

  @Test func `the daemon's questions follow what was set`() {
    var options = SocketOptions(SocketKind(transport: .stream, isV6: true))
    #expect(
      !options.reuseAddress && !options.isV6Only && !options.noDelay && !options.keepalive && !options.resetsOnClose)
    for (level, name, value) in [
      (SOL_SOCKET, SO_REUSEADDR, 5), (SOL_SOCKET, SO_KEEPALIVE, 1), (41, 26, 1), (6, 1, 1), (6, 4, 10), (6, 5, 20),
      (6, 6, 3),
    ] as [(Int32, Int32, Int32)] {
      #expect(set(&options, level, name, value) == 0)
    }
    #expect(options.reuseAddress && options.isV6Only && options.noDelay && options.keepalive)
    #expect(options.keepaliveTimes == (10, 20, 3))
    #expect(set(&options, 6, 3, 1) == 0)  // TCP_CORK
    #expect(!options.noDelay)
  }
}
