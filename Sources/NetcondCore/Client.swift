internal import CSocket
package import Glibc
package import NetcondRPC
internal import Slab

/// One program's RPC connection: a message is received into fixed memory, answered, and the next one is received.
package struct Client: ~Copyable {
  package let fd: Int32
  let network: Int
  let process: Int32
  let user: UInt32
  /// Request, its vector, the message header and room for control data: the kernel writes here while a receive is under
  /// way.
  package let message: UnsafeMutablePointer<msghdr>
  private let vector: UnsafeMutablePointer<iovec>
  private let request: UnsafeMutableRawPointer
  private let control: UnsafeMutableRawPointer
  var isClosing = false
  /// The client's own number, unique in a run.
  let number: UInt64
  /// Where the program takes sockets made ahead; closed with the connection.
  private var dispensers: (v4: Dispenser?, v6: Dispenser?)

  package init(fd: Int32, network: Int, number: UInt64) {
    self.fd = fd
    self.number = number
    self.network = network
    process = nc_peer_process(fd)
    user = nc_peer_user(fd)
    message = .allocate(capacity: 1)
    vector = .allocate(capacity: 1)
    request = .allocate(byteCount: MemoryLayout<nc_request>.size, alignment: 16)
    control = .allocate(byteCount: nc_control_bytes(), alignment: 16)
    vector.initialize(to: iovec(iov_base: request, iov_len: MemoryLayout<nc_request>.size))
  }

  deinit {
    close(fd)
    for dispenser in [dispensers.v4, dispensers.v6] { if let dispenser { close(dispenser.fd) } }
    message.deallocate()
    vector.deallocate()
    request.deallocate()
    control.deallocate()
  }

  /// Takes a dispenser out, to be set again or closed; nil also where `family` is none of the two.
  mutating func takeDispenser(family: Int32) -> Dispenser? {
    switch family {
    case AF_INET: dispensers.v4.take()
    case AF_INET6: dispensers.v6.take()
    default: nil
    }
  }

  /// There is none of this family.
  mutating func setDispenser(_ dispenser: Dispenser, family: Int32) {
    if family == AF_INET6 { dispensers.v6 = dispenser } else { dispensers.v4 = dispenser }
  }

  /// Whether there is a dispenser of this family, and nothing lies in it.
  func hasEmptyDispenser(family: Int32) -> Bool {
    let dispenser = family == AF_INET6 ? dispensers.v6?.fd : dispensers.v4?.fd
    return dispenser.map { nc_unread_memory($0) == 0 } ?? false
  }

  /// Makes the message ready for another receive.
  package func reset() { nc_message_prepare(message, vector, 1, control, nc_control_bytes()) }

  /// Receives what is there, without waiting. Returns its size in bytes, 0 where the program has gone, or a negated errno.
  func receiveNow() -> Int32 {
    reset()
    let count = recvmsg(fd, message, Int32(MSG_DONTWAIT) | Int32(MSG_CMSG_CLOEXEC))
    return count < 0 ? -errno : Int32(count)
  }

  /// Descriptors came with the received message, and at least one of them could not be had.
  var hasLostDescriptors: Bool { nc_message_lost_descriptors(message) != 0 }

  /// The request that was received, and the descriptors that came with it. Takes the descriptors out: the caller owns them.
  package func take() -> (request: nc_request, descriptors: [Int32], isTruncated: Bool) {
    var descriptors = [Int32](repeating: -1, count: Int(NC_CONTROL_DESCRIPTORS))
    let count = nc_take_descriptors(message, &descriptors, Int32(descriptors.count))
    let isTruncated = nc_message_is_truncated(message) != 0
    return (request.load(as: nc_request.self), Array(descriptors.prefix(Int(count))), isTruncated)
  }
}
