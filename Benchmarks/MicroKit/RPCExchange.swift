internal import Glibc
internal import LwipGlue
internal import NetcondCore
internal import NetcondRPC

/// A CONNECT request as the library sends it, received and decoded by the daemon's own code, and the reply; both over a
/// SOCK_SEQPACKET pair, without the daemon's loop.
final class RPCExchange: Workload {
  private let library: Int32
  private let daemon: Client
  private let remote: Endpoint
  private var sequence: UInt32 = 0
  private var problem: String?

  init() throws {
    var ends: [Int32] = [-1, -1]
    guard socketpair(AF_UNIX, Int32(SOCK_SEQPACKET.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0, &ends) == 0,
      let address = IPAddress("10.1.0.7")
    else { throw WorkloadError("no socketpair: errno \(errno)") }
    library = ends[0]
    daemon = Client(fd: ends[1], network: 0, number: 1)
    remote = Endpoint(address: address, port: 443)
  }

  deinit { close(library) }

  func run(_ count: Int) {
    for _ in 0..<count where problem == nil {
      sequence &+= 1
      var request = nc_request()
      request.magic = NC_RPC_MAGIC
      request.version = UInt16(NC_RPC_VERSION)
      request.op = UInt16(NC_OP_CONNECT.rawValue)
      request.sequence = sequence
      request.address = nc_address(remote)
      guard Descriptors.send(library, request, passing: nil) == 0 else {
        problem = "the request could not be sent"
        return
      }
      answer()
      var reply = nc_reply()
      let received = withUnsafeMutableBytes(of: &reply) { recv(library, $0.baseAddress, $0.count, Int32(MSG_DONTWAIT)) }
      if received != MemoryLayout<nc_reply>.size || reply.sequence != sequence || reply.remote.endpoint != remote {
        problem = "the reply does not belong to the request"
      }
    }
  }

  private func answer() {
    daemon.reset()
    guard recvmsg(daemon.fd, daemon.message, Int32(MSG_DONTWAIT)) == MemoryLayout<nc_request>.size else {
      problem = "the request did not arrive whole"
      return
    }
    let (request, descriptors, isTruncated) = daemon.take()
    guard request.magic == NC_RPC_MAGIC, descriptors.isEmpty, !isTruncated, let address = request.address.endpoint
    else {
      problem = "the request arrived otherwise than it was sent"
      return
    }
    var reply = nc_reply()
    reply.magic = NC_RPC_MAGIC
    reply.version = UInt16(NC_RPC_VERSION)
    reply.op = request.op
    reply.sequence = request.sequence
    reply.remote = nc_address(address)
    _ = Descriptors.send(daemon.fd, reply, passing: nil)
  }

  func verify() throws {
    if let problem { throw WorkloadError(problem) }
    guard sequence > 0 else { throw WorkloadError("nothing was exchanged") }
  }
}
