internal import Glibc
internal import LwipGlue

/// What of a network's address space is the host's.
struct HostPolicy {
  /// Destinations on no route of the network.
  let outside: OutsidePolicy
  /// 127.0.0.0/8 and ::1.
  let loopback: LoopbackPolicy

  /// Whether anything is.
  var isUsed: Bool { outside == .host || loopback == .host }

  /// Whether a connect or a datagram to `destination` goes through the host's stack.
  func sendsOutside(_ destination: IPAddress, of interface: NetworkInterface) -> Bool {
    if destination.isLoopback || destination.isAny { return loopback == .host }  // "any" is this host, as Linux does
    guard outside == .host, !destination.isMulticast, !destination.isLimitedBroadcast else { return false }
    return !interface.hasRoute(to: destination)
  }

  /// Whether a bind to `address` is one to an address of the host's (which it may or may not have).
  func bindsOutside(_ address: IPAddress, of interface: NetworkInterface) -> Bool {
    if address.isLoopback { return loopback == .host }
    return outside == .host && !address.isAny && !address.isMulticast && !interface.owns(address)
  }

  /// Whether a program of `user` may bind to a port of the host's; the daemon's own right is not lent.
  static func mayBind(port: UInt16, user: UInt32) -> Bool {
    port == 0 || user == 0 || port >= firstUnprivilegedPort
  }

  /// Ports below need a right (net.ipv4.ip_unprivileged_port_start, ip-sysctl; 1024 by default).
  private static var firstUnprivilegedPort: UInt16 {
    let fd = open("/proc/sys/net/ipv4/ip_unprivileged_port_start", O_RDONLY | O_CLOEXEC)
    guard fd >= 0 else { return 1024 }
    defer { close(fd) }
    return withUnsafeTemporaryAllocation(byteCount: 16, alignment: 1) { buffer in
      let count = read(fd, buffer.baseAddress, buffer.count)
      let digits = buffer.prefix(max(0, count)).prefix { $0 >= 0x30 && $0 <= 0x39 }
      return UInt16(String(decoding: digits, as: UTF8.self)) ?? 1024
    }
  }
}

extension Network {
  var hostPolicy: HostPolicy { HostPolicy(outside: configuration.outside, loopback: configuration.loopback) }
}
