import Glibc
import LwipGlue
@testable import NetcondCore
import Testing

@Suite struct HostAddressTests {
  @Test(arguments: ["192.0.2.1", "0.0.0.0", "255.255.255.255", "::1", "2001:db8::8a2e:370:7334"])
  func `an endpoint comes back as it was given to the kernel`(text: String) throws {
    let endpoint = Endpoint(address: try #require(IPAddress(text)), port: 0x1234)
    let read = HostAddress.with(endpoint) { address, length in
      HostAddress.read(UnsafeRawBufferPointer(start: address, count: Int(length)))
    }
    #expect(read == endpoint)
  }

  @Test func `what is no internet address, or cut, is none`() {
    #expect(HostAddress.read(UnsafeRawBufferPointer(start: nil, count: 0)) == nil)
    let unix = [UInt8](repeating: 1, count: 28)
    unix.withUnsafeBytes { #expect(HostAddress.read($0) == nil) }
    HostAddress.with(Endpoint(address: .loopbackV6, port: 1)) { address, _ in
      #expect(HostAddress.read(UnsafeRawBufferPointer(start: address, count: 16)) == nil)
    }
  }

  @Test func `a socket's names are the kernel's`() throws {
    let fd = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    defer { close(fd) }
    let bound = HostAddress.with(Endpoint(address: .loopbackV4, port: 0)) { bind(fd, $0, $1) }
    try #require(bound == 0)
    let local = try #require(HostAddress.local(of: fd))
    #expect(local.address == .loopbackV4)
    #expect(local.port != 0)
    #expect(HostAddress.remote(of: fd) == nil)
  }
}

@Suite struct HostOptionTests {
  private func option(_ level: Int32, _ name: Int32, _ value: Int32) -> HostOption? {
    withUnsafeBytes(of: value) { HostOption(level: level, name: name, value: $0) }
  }

  @Test func `options that need a right, or name what is the host's, are not passed on`() {
    // SO_MARK, SO_SNDBUFFORCE, SO_RCVBUFFORCE, SO_BINDTODEVICE, SO_DEBUG
    for name: Int32 in [36, 32, 33, 25, 1] { #expect(option(SOL_SOCKET, name, 1) == nil) }
    // IP_TRANSPARENT, IP_FREEBIND, IP_OPTIONS; TCP_CONGESTION, TCP_REPAIR, TCP_ULP
    for name: Int32 in [19, 15, 4] { #expect(option(Int32(IPPROTO_IP), name, 1) == nil) }
    for name: Int32 in [13, 19, 31] { #expect(option(Int32(IPPROTO_TCP), name, 1) == nil) }
  }

  @Test func `an option has its effect on the host's socket, the last value counts`() throws {
    let fd = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    defer { close(fd) }
    var kept: [HostOption] = []
    let keepIdle: Int32 = 4  // linux/tcp.h
    for value: Int32 in [5, 7] { try #require(option(Int32(IPPROTO_TCP), keepIdle, value)).replace(in: &kept) }
    #expect(kept.count == 1)
    for option in kept { #expect(option.apply(to: fd, isV6: false) == 0) }
    var bytes = [UInt8](repeating: 0, count: 8)
    let count = bytes.withUnsafeMutableBytes {
      HostOption.read(fd, isV6: false, level: Int32(IPPROTO_TCP), name: keepIdle, into: $0)
    }
    #expect(count == 4)
    #expect(bytes.prefix(4) == [7, 0, 0, 0])
  }

  @Test func `an option of IPv6 does nothing to an IPv4 socket of the host's`() throws {
    let hops = try #require(option(Int32(IPPROTO_IPV6), 16, 9))  // IPV6_UNICAST_HOPS
    let fd = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    defer { close(fd) }
    #expect(hops.apply(to: fd, isV6: false) == 0)
  }

  @Test func `ports below the unprivileged ones are root's`() {
    let file = fopen("/proc/sys/net/ipv4/ip_unprivileged_port_start", "r")
    defer { if let file { fclose(file) } }
    var text = [CChar](repeating: 0, count: 16)
    let isRead = file.map { fgets(&text, 16, $0) != nil } ?? false
    let first = isRead ? atoi(text) : 1024
    #expect(HostPolicy.mayBind(port: 22, user: 1000) == (22 >= first))
    #expect(HostPolicy.mayBind(port: 22, user: 0))
    #expect(HostPolicy.mayBind(port: 0, user: 1000))
    #expect(HostPolicy.mayBind(port: 65_535, user: 1000))
  }
}
