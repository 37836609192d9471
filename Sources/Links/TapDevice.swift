internal import CTun
internal import Frames
internal import Glibc

/// Why a TAP cannot be opened, with what to do about it.
public struct TapError: Error, CustomStringConvertible, Sendable {
  public let cause: String
  public let cure: String
  public var description: String { "\(cause); \(cure)" }
}

/// A TAP device's descriptor (Linux Documentation/networking/tuntap.rst), closed with its owner.
struct TapDevice: ~Copyable {
  private(set) var fd: Int32
  let name: String
  let offloads: LinkOffloads

  /// Creates the device `name`, or attaches to it where it exists and is free, with IFF_VNET_HDR and every offload that is
  /// wanted and that the kernel grants.
  /// - Parameters:
  ///   - name: at most 15 bytes (IFNAMSIZ less the final NUL).
  ///   - wantsOffloads: without, the kernel finishes all checksums and segments before it hands frames over.
  init(name: String, wantsOffloads: Bool) throws(TapError) {
    let fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC)
    guard fd >= 0 else { throw Self.openError(errno) }
    guard nc_tap_attach(fd, name) == 0 else {
      let code = errno
      close(fd)
      throw Self.attachError(name, code)
    }
    guard nc_tap_set_header_bytes(fd, 12) == 0 else {  // struct virtio_net_hdr_v1
      let code = errno
      close(fd)
      throw TapError(
        cause: "tap \(name): the 12-byte offload header is refused: \(Self.text(code))",
        cure: "remake the device (ip tuntap add dev \(name) mode tap vnet_hdr)")
    }
    self.fd = fd
    self.name = name
    offloads = Self.negotiate(fd, wantsOffloads)
  }

  deinit { if fd >= 0 { close(fd) } }

  /// Lets go of the device: one that nobody had made beforehand is gone once nothing is under way on it.
  mutating func release() {
    if fd >= 0 { close(fd) }
    fd = -1
  }

  private static func negotiate(_ fd: Int32, _ wantsOffloads: Bool) -> LinkOffloads {
    let checksum = UInt32(TUN_F_CSUM)
    let wishes: [(UInt32, LinkOffloads)] = [
      (checksum | UInt32(TUN_F_TSO4) | UInt32(TUN_F_TSO6), .all), (checksum, .checksum),
    ]
    if wantsOffloads {
      for (flags, offloads) in wishes where nc_tap_set_offload(fd, flags) == 0 { return offloads }
    }
    _ = nc_tap_set_offload(fd, 0)  // a persistent device may keep another user's
    return []
  }

  private static func text(_ code: Int32) -> String { String(cString: strerror(code)) }

  private static func openError(_ code: Int32) -> TapError {
    let cure =
      switch code {
      case ENOENT, ENODEV, ENXIO:
        "the device /dev/net/tun is missing: load the module tun (modprobe tun), or give the container the device (--device /dev/net/tun)"
      case EACCES, EPERM: "no permission on /dev/net/tun: run as root or let this user open the device"
      case EMFILE, ENFILE: "no descriptor is left: raise RLIMIT_NOFILE"
      default: "see Documentation/networking/tuntap.rst of the kernel"
      }
    return TapError(cause: "/dev/net/tun cannot be opened: \(text(code))", cure: cure)
  }

  private static func attachError(_ name: String, _ code: Int32) -> TapError {
    let cure =
      switch code {
      case EPERM:
        "the privilege CAP_NET_ADMIN is missing: run as root, or make the device for this user first (ip tuntap add dev \(name) mode tap user NAME vnet_hdr)"
      case EBUSY: "another program is attached to it: stop that one or choose another name"
      case EINVAL:
        "an interface of this name exists that is no TAP, or one made without vnet_hdr: choose another name or remake it (ip tuntap add dev \(name) mode tap vnet_hdr)"
      default: "see Documentation/networking/tuntap.rst of the kernel"
      }
    return TapError(cause: "tap \(name) cannot be created or attached: \(text(code))", cure: cure)
  }

  /// The kernel side's MTU in bytes; nil where the device is not in this network namespace (any more).
  func readMTU() -> Int? {
    let mtu = withSocket { nc_interface_mtu($0, name) }
    return mtu > 0 ? Int(mtu) : nil
  }

  /// Sets the kernel side's MTU; false where that is not allowed (no CAP_NET_ADMIN).
  func setMTU(_ mtu: Int) -> Bool { withSocket { nc_interface_set_mtu($0, name, Int32(mtu)) } == 0 }

  /// What may wait for the daemon, in packets, acknowledgements among them. A TAP drops what comes beyond, without telling
  /// the sender; with the kernel's 1,000, 256 transfers at once lost a fifth of their packets to that, and some stood
  /// still for seconds. The bytes are bounded by the connections' windows.
  static let queueLength: Int32 = 16_384

  /// Lets the kernel side's queue hold that many packets, unless it holds more; false where that is not allowed (no
  /// CAP_NET_ADMIN).
  func lengthenQueue(to packets: Int32 = queueLength) -> Bool {
    withSocket { socket in
      nc_interface_queue_length(socket, name) >= packets ? 0 : nc_interface_set_queue_length(socket, name, packets)
    } == 0
  }

  /// The kernel side's queue, in packets; nil as for `readMTU`.
  func readQueueLength() -> Int? {
    let length = withSocket { nc_interface_queue_length($0, name) }
    return length > 0 ? Int(length) : nil
  }

  /// Sets the kernel side up; false where that is not allowed (no CAP_NET_ADMIN).
  func bringUp() -> Bool { withSocket { nc_interface_bring_up($0, name) } == 0 }

  /// Whether the device stays when nobody has it open.
  var isPersistent: Bool { nc_tap_is_persistent(fd) != 0 }

  /// Where the kernel's files of the device are (sysfs(5)); nil where the mounted ones show another network namespace, even if that
  /// has an interface of this name.
  var sysfsFolder: String? {
    let folder = "/sys/class/net/\(name)"
    var address = [UInt8](repeating: 0, count: 6)
    guard nc_tap_hardware_address(fd, &address) == 0, let shown = KernelFile("\(folder)/address")?.readText() else {
      return nil
    }
    return MACAddress(shown.dropLast()) == MACAddress(reading: address) ? folder : nil  // a line
  }

  private func withSocket(_ body: (Int32) -> Int32) -> Int32 {
    let socket = socket(AF_INET, Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
    defer { close(socket) }
    return body(socket)
  }
}
