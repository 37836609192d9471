internal import Glibc
internal import LwipGlue
internal import NetcondRPC
internal import Slab

/// Requests about datagram sockets (docs/rpc.md); all of them are done at once.
extension Daemon {
  func findDatagramSocket(_ descriptor: Int32, network: Network) -> SlabKey? {
    Pair.cookie(descriptor).flatMap { network.datagramsByCookie[$0] }.map { SlabKey(bits: $0) }
  }

  func perform(
    _ request: nc_request, _ key: SlabKey, _ socket: UnsafeMutablePointer<DatagramSocket>, user: UInt32,
    reply: inout nc_reply
  ) -> Int32 {
    switch UInt32(request.op) {
    case NC_OP_BIND.rawValue:
      guard let local = request.address.endpoint else { return EAFNOSUPPORT }
      let reuses = request.argument.0 & Int32(NC_BIND_REUSEADDR) != 0
      let status = bind(key, socket, to: local, reuseAddress: reuses, user: user)
      fillNames(socket, &reply)
      return status
    case NC_OP_CONNECT.rawValue:
      var status: Int32 = 0
      if request.address.family == 0 {
        disconnect(key, socket)
      } else if let remote = request.address.endpoint {
        status = connect(key, socket, to: remote)
      } else {
        status = EAFNOSUPPORT
      }
      fillNames(socket, &reply)
      return status
    case NC_OP_NAMES.rawValue:
      fillNames(socket, &reply)
      return 0
    case NC_OP_ROUTE.rawValue:
      let source = withUnsafeBytes(of: request.data) { $0.loadUnaligned(as: nc_address.self) }
      return route(
        key, socket, to: request.address.endpoint, from: source.endpoint?.address,
        bytes: Int(max(0, request.argument.0)), reply: &reply)
    case NC_OP_SETSOCKOPT.rawValue: return setOption(request, key, socket)
    case NC_OP_GETSOCKOPT.rawValue: return getOption(request, socket, &reply)
    default: return EOPNOTSUPP
    }
  }
}
