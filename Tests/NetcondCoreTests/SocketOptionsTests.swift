import Glibc
@testable import NetcondCore
import Testing

/// An option, for messages by its name.
struct Option: Sendable, CustomTestStringConvertible {
  let name: String
  let family: Int32
  let level: Int32
  let number: Int32
  var testDescription: String { name }

  static let all: [Option] =
    [
      ("SO_REUSEADDR", SO_REUSEADDR), ("SO_REUSEPORT", SO_REUSEPORT), ("SO_KEEPALIVE", SO_KEEPALIVE),
      ("SO_BROADCAST", SO_BROADCAST), ("SO_OOBINLINE", SO_OOBINLINE), ("SO_DONTROUTE", SO_DONTROUTE),
      ("SO_SNDBUF", SO_SNDBUF),
      ("SO_RCVBUF", SO_RCVBUF), ("SO_PRIORITY", SO_PRIORITY),
    ].map { Option(name: $0.0, family: AF_INET, level: SOL_SOCKET, number: $0.1) }
    + [
      ("TCP_NODELAY", 1), ("TCP_CORK", 3), ("TCP_KEEPIDLE", 4), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 6),
      ("TCP_QUICKACK", 12),
    ].map { Option(name: $0.0, family: AF_INET, level: Int32(IPPROTO_TCP), number: $0.1) }
    + [("IP_TOS", 1), ("IP_TTL", 2)].map { Option(name: $0.0, family: AF_INET, level: Int32(IPPROTO_IP), number: $0.1) }
    + [("IPV6_V6ONLY", 26), ("IPV6_TCLASS", 67), ("IPV6_UNICAST_HOPS", 16)].map {
      Option(name: $0.0, family: AF_INET6, level: Int32(IPPROTO_IPV6), number: $0.1)
    }
}

/// The same question to a kernel socket and to the daemon's table.
@Suite struct SocketOptionsTests {
  private static let values: [Int32] = [
    .min, -2, -1, 0, 1, 2, 6, 7, 16, 63, 64, 100, 127, 128, 252, 255, 256, 1151, 1152, 2303, 32_767, 32_768, 65_536,
    100_000,
  ]

  private func withKernelSocket<Result>(_ option: Option, _ body: (Int32) throws -> Result) throws -> Result {
    let fd = socket(option.family, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
    try #require(fd >= 0)
    defer { close(fd) }
    return try body(fd)
  }

  private func kernelGet(_ fd: Int32, _ option: Option) -> String {
    var value: Int32 = -77
    var size = socklen_t(4)
    let status = getsockopt(fd, option.level, option.number, &value, &size)
    return status == 0 ? "\(value) in \(size)" : "errno \(errno)"
  }

  private func ownGet(_ options: SocketOptions, _ option: Option) -> String {
    var out = [UInt8](repeating: 0, count: 16)
    let count = out.withUnsafeMutableBytes { options.get(level: option.level, name: option.number, into: $0) }
    guard count >= 0 else { return "errno \(-count)" }
    return "\(out.withUnsafeBytes { $0.load(as: Int32.self) }) in \(count)"
  }

  @Test(arguments: Option.all) func `begins with the kernel's value`(option: Option) throws {
    let kernel = try withKernelSocket(option) { kernelGet($0, option) }
    #expect(ownGet(SocketOptions(), option) == kernel)
  }

  /// What to try: sizes below 0 are capped by sysctls of the machine, priorities above 6 by the user's privileges.
  private func values(_ option: Option) -> [Int32] {
    switch option.name {
    case "SO_SNDBUF", "SO_RCVBUF": Self.values.filter { $0 >= 0 }
    case "SO_PRIORITY": Array(0...6)
    default: Self.values
    }
  }

  @Test(arguments: Option.all) func `takes and gives back what the kernel does`(option: Option) throws {
    var differences: [String] = []
    for value in values(option) {
      var value = value
      let kernel = try withKernelSocket(option) { fd in
        let code = setsockopt(fd, option.level, option.number, &value, 4) == 0 ? 0 : errno
        return "errno \(code), then \(kernelGet(fd, option))"
      }
      var options = SocketOptions()
      let code = withUnsafeBytes(of: &value) { options.set(level: option.level, name: option.number, data: $0) }
      let own = "errno \(code), then \(ownGet(options, option))"
      if own != kernel { differences.append("\(value): \(own); kernel: \(kernel)") }
    }
    #expect(differences == [])
  }

  @Test(arguments: Option.all) func `takes values of the lengths that the kernel takes`(option: Option) throws {
    var differences: [String] = []
    let bytes: [UInt8] = [1, 0, 0, 0, 0, 0, 0, 0]
    for length in [0, 1, 2, 3, 5, 8] {
      let kernel = try withKernelSocket(option) { fd in
        let code = setsockopt(fd, option.level, option.number, bytes, socklen_t(length)) == 0 ? 0 : errno
        return "errno \(code), then \(kernelGet(fd, option))"
      }
      var options = SocketOptions()
      let code = bytes.withUnsafeBytes {
        options.set(level: option.level, name: option.number, data: UnsafeRawBufferPointer(rebasing: $0.prefix(length)))
      }
      let own = "errno \(code), then \(ownGet(options, option))"
      if own != kernel { differences.append("\(length) bytes: \(own); kernel: \(kernel)") }
    }
    #expect(differences == [])
  }

  @Test(arguments: [(0, 0), (0, 5), (1, 0), (1, 30), (7, 30), (-1, 2)] as [(Int32, Int32)])
  func `SO_LINGER is as the kernel's`(isOn: Int32, seconds: Int32) throws {
    let option = Option(name: "SO_LINGER", family: AF_INET, level: SOL_SOCKET, number: SO_LINGER)
    let pair = [isOn, seconds]
    let kernel = try withKernelSocket(option) { fd in
      #expect(setsockopt(fd, SOL_SOCKET, SO_LINGER, pair, 8) == 0)
      var out: [Int32] = [-1, -1]
      var size = socklen_t(8)
      #expect(getsockopt(fd, SOL_SOCKET, SO_LINGER, &out, &size) == 0)
      return out
    }
    var options = SocketOptions()
    let code = pair.withUnsafeBytes { options.set(level: SOL_SOCKET, name: SO_LINGER, data: $0) }
    #expect(code == 0)
    var out: [Int32] = [-1, -1]
    let count = out.withUnsafeMutableBytes { options.get(level: SOL_SOCKET, name: SO_LINGER, into: $0) }
    #expect(count == 8)
    #expect(out == kernel)
    #expect(options.resetsOnClose == (kernel[0] != 0 && kernel[1] == 0))
  }

  @Test(arguments: [SOL_SOCKET, Int32(IPPROTO_TCP), Int32(IPPROTO_IP), Int32(IPPROTO_IPV6)])
  func `an option that nobody knows is ENOPROTOOPT`(level: Int32) {
    let option = Option(name: "?", family: AF_INET, level: level, number: 9999)
    var options = SocketOptions()
    let bytes: [UInt8] = [1, 0, 0, 0]
    #expect(ownGet(options, option) == "errno \(ENOPROTOOPT)")
    let code = bytes.withUnsafeBytes { options.set(level: level, name: 9999, data: $0) }
    #expect(code == ENOPROTOOPT)
  }

  @Test func `the daemon's questions follow what was set`() {
    var options = SocketOptions()
    func set(_ level: Int32, _ name: Int32, _ value: Int32) {
      var value = value
      _ = withUnsafeBytes(of: &value) { options.set(level: level, name: name, data: $0) }
    }
    #expect(
      !options.reuseAddress && !options.isV6Only && !options.noDelay && !options.keepalive && !options.resetsOnClose)
    set(SOL_SOCKET, SO_REUSEADDR, 5)
    set(SOL_SOCKET, SO_KEEPALIVE, 1)
    set(Int32(IPPROTO_IPV6), 26, 1)
    set(Int32(IPPROTO_TCP), 1, 1)
    set(Int32(IPPROTO_TCP), 4, 10)
    set(Int32(IPPROTO_TCP), 5, 20)
    set(Int32(IPPROTO_TCP), 6, 3)
    #expect(options.reuseAddress && options.isV6Only && options.noDelay && options.keepalive)
    #expect(options.keepaliveTimes == (10, 20, 3))
  }
}
