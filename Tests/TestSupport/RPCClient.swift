internal import Glibc
public import NetcondRPC

/// A raw client of a network's RPC socket, for tests that send what no honest library would.
public final class RPCClient {
  private let descriptor: Int32

  /// Connects to `nc_<network id>`.
  public init(_ path: String) throws {
    descriptor = socket(AF_UNIX, Int32(SOCK_SEQPACKET.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
    guard descriptor >= 0 else { throw SupportError.systemCall("socket", path) }
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
    let result = withUnsafePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        Glibc.connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
      }
    }
    guard result == 0 else {
      let code = errno
      Glibc.close(descriptor)
      throw SupportError.systemCall("connect", path, errno: code)
    }
  }

  deinit { Glibc.close(descriptor) }

  /// Sends one message, with descriptors by SCM_RIGHTS (unix(7)), without waiting for room.
  /// - Returns: 0, or errno: EPIPE or ECONNRESET when the daemon has closed the connection, EAGAIN when its queue is
  /// full.
  public func send(_ message: [UInt8], passing descriptors: [Int32] = []) -> Int32 {
    RPCClient.send(message, passing: descriptors, on: descriptor)
  }

  /// The same on any unix socket.
  public static func send(_ message: [UInt8], passing descriptors: [Int32] = [], on descriptor: Int32) -> Int32 {
    var message = message
    var control = RPCClient.rights(descriptors)
    let controlBytes = control.count
    return message.withUnsafeMutableBytes { bytes in
      control.withUnsafeMutableBytes { controlBuffer in
        var vector = iovec(iov_base: bytes.baseAddress, iov_len: bytes.count)
        return withUnsafeMutablePointer(to: &vector) { vector in
          var header = msghdr()
          header.msg_iov = vector
          header.msg_iovlen = 1
          if controlBytes > 0 {
            header.msg_control = controlBuffer.baseAddress
            header.msg_controllen = controlBytes
          }
          let flags = Int32(MSG_NOSIGNAL | MSG_DONTWAIT)
          return sendmsg(descriptor, &header, flags) < 0 ? errno : 0
        }
      }
    }
  }

  /// One cmsghdr (length, level, type: 16 bytes on 64-bit Linux) and the descriptors, padded to 8 bytes.
  private static func rights(_ descriptors: [Int32]) -> [UInt8] {
    guard !descriptors.isEmpty else { return [] }
    let length = MemoryLayout<cmsghdr>.size + descriptors.count * 4
    var control = [UInt8](repeating: 0, count: (length + 7) & ~7)
    control.withUnsafeMutableBytes { bytes in
      bytes.storeBytes(of: cmsghdr(length), as: cmsghdr.self)
      for (index, descriptor) in descriptors.enumerated() {
        bytes.storeBytes(of: descriptor, toByteOffset: MemoryLayout<cmsghdr>.size + index * 4, as: Int32.self)
      }
    }
    return control
  }

  /// What came from the daemon.
  public enum Received: Equatable {
    case message([UInt8])
    case closed
    case nothing
  }

  /// Waits for one message; a descriptor that comes with it is given to `onDescriptor`, or closed.
  public func receive(seconds: Double, onDescriptor: ((Int32) -> Void)? = nil) -> Received {
    var waiting = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
    guard poll(&waiting, 1, Int32(seconds * 1000)) > 0 else { return .nothing }
    var bytes = [UInt8](repeating: 0, count: 4096)
    var control = [UInt8](repeating: 0, count: 64)
    let (count, controlCount) = bytes.withUnsafeMutableBytes { buffer in
      control.withUnsafeMutableBytes { controlBuffer in
        var vector = iovec(iov_base: buffer.baseAddress, iov_len: buffer.count)
        return withUnsafeMutablePointer(to: &vector) { vector in
          var header = msghdr()
          header.msg_iov = vector
          header.msg_iovlen = 1
          header.msg_control = controlBuffer.baseAddress
          header.msg_controllen = controlBuffer.count
          let count = recvmsg(descriptor, &header, 0)
          return (count, header.msg_controllen)
        }
      }
    }
    guard count > 0 else { return .closed }
    let headerBytes = MemoryLayout<cmsghdr>.size
    if controlCount >= headerBytes + 4 {
      let passed = control.withUnsafeBytes { $0.load(fromByteOffset: headerBytes, as: Int32.self) }
      if let onDescriptor { onDescriptor(passed) } else { Glibc.close(passed) }
    }
    return .message(Array(bytes[..<count]))
  }

  /// A well-formed request, to be spoilt by `change`.
  public static func request(_ operation: UInt32, _ change: (inout nc_request) -> Void = { _ in }) -> [UInt8] {
    var request = nc_request()
    request.magic = UInt32(NC_RPC_MAGIC)
    request.version = UInt16(NC_RPC_VERSION)
    request.op = UInt16(operation)
    request.sequence = 7
    change(&request)
    return withUnsafeBytes(of: &request) { Array($0) }
  }

  /// The reply's version and status.
  public static func reply(_ bytes: [UInt8]) -> (version: UInt16, status: Int32, sequence: UInt32)? {
    guard bytes.count == MemoryLayout<nc_reply>.size else { return nil }
    let reply = bytes.withUnsafeBytes { $0.loadUnaligned(as: nc_reply.self) }
    guard reply.magic == UInt32(NC_RPC_MAGIC) else { return nil }
    return (reply.version, reply.status, reply.sequence)
  }
}

extension cmsghdr {
  /// The header of a control message that passes descriptors.
  init(_ length: Int) {
    self.init()
    cmsg_len = length
    cmsg_level = SOL_SOCKET
    cmsg_type = Int32(SCM_RIGHTS)
  }
}

extension RPCClient {
  /// A request that is answered, or an error.
  /// - Returns: the reply's status: 0 or an errno.
  public func call(
    _ operation: UInt32, passing descriptors: [Int32] = [], _ change: (inout nc_request) -> Void = { _ in },
    onDescriptor: ((Int32) -> Void)? = nil
  ) throws -> Int32 {
    let failure = send(RPCClient.request(operation, change), passing: descriptors)
    guard failure == 0 else { throw SupportError.systemCall("sendmsg", "an RPC request", errno: failure) }
    guard case .message(let bytes) = receive(seconds: 5, onDescriptor: onDescriptor),
      let reply = RPCClient.reply(bytes)
    else { throw SupportError("no reply to RPC request \(operation)") }
    return reply.status
  }

  /// NC_OP_SOCKET for TCP over IPv4. Returns the app's end; the caller closes it.
  public func openSocket() throws -> Int32 {
    var socket: Int32 = -1
    let status = try call(NC_OP_SOCKET.rawValue) {
      $0.argument.0 = AF_INET
      $0.argument.1 = Int32(SOCK_STREAM.rawValue)
    } onDescriptor: {
      socket = $0
    }
    guard status == 0, socket >= 0 else { throw SupportError("NC_OP_SOCKET: status \(status), descriptor \(socket)") }
    return socket
  }

  /// NC_OP_BIND of a passed descriptor to port `port` of any IPv4 address. Returns the reply's status.
  public func bind(_ descriptor: Int32, port: UInt16) throws -> Int32 {
    try call(NC_OP_BIND.rawValue, passing: [descriptor]) {
      $0.address.family = UInt16(AF_INET)
      $0.address.port = port.bigEndian
    }
  }
}
