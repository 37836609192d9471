internal import Glibc
internal import LwipGlue
internal import NetcondRPC
internal import Slab

/// Options of datagram sockets: memberships are theirs alone; the others are kept as streams' are, and read once for all
/// datagrams that follow.
extension Daemon {
  /// Sets an option. Returns 0 or an errno.
  func setOption(_ request: nc_request, _ key: SlabKey, _ socket: UnsafeMutablePointer<DatagramSocket>) -> Int32 {
    let (level, name, length, flags) = request.argument
    if MembershipRequest.concerns(level: level, name: name), level == Int32(IPPROTO_IP) || socket.pointee.isV6 {
      guard length >= 0 else { return EINVAL }
      return withUnsafeBytes(of: request.data) { bytes in
        let data = UnsafeRawBufferPointer(rebasing: bytes.prefix(Int(length)))
        guard flags & Int32(NC_OPTION_NULL) == 0 else { return length < 8 ? EINVAL : EFAULT }
        return changeMembership(socket, level: level, name: name, data: data)
      }
    }
    let status = setOption(request, in: &socket.pointee.options, optionContext(socket))
    guard status == 0 else { return status }
    withUnsafeBytes(of: request.data) { bytes in
      let value = UnsafeRawBufferPointer(rebasing: bytes.prefix(Int(length)))
      passOption(level: level, name: name, value: value, of: socket)
    }
    socket.pointee.settings = DatagramSettings(socket.pointee.options)
    if level == SOL_SOCKET {
      if name == SO_RCVBUF { applyReceiveBuffer(socket) }
      updateBinding(key, socket)
    }
    return 0
  }

  /// The kernel doubles what it is given, as the option's value has been already.
  func applyReceiveBuffer(_ socket: UnsafeMutablePointer<DatagramSocket>) {
    Pair.setSendBuffer(socket.pointee.fd, max(socket.pointee.settings.receiveBufferBytes / 2, 2))
  }

  /// Reads an option. Returns 0 or an errno.
  func getOption(
    _ request: nc_request, _ socket: UnsafeMutablePointer<DatagramSocket>, _ reply: inout nc_reply
  ) -> Int32 {
    let (level, name, _, _) = request.argument
    if let status = readHostOption(level: level, name: name, of: socket, &reply) { return status }
    return getOption(request, of: socket.pointee.options, optionContext(socket), &reply) { _ in }
  }

  private func optionContext(_ socket: UnsafeMutablePointer<DatagramSocket>) -> OptionContext {
    let network = networkTable[socket.pointee.network]
    var context = OptionContext()
    let local = socket.pointee.local
    context.phase = socket.pointee.peer != nil ? .connected : local != nil ? .bound : .idle
    context.localPort = Int32(local?.port ?? 0)
    context.isBoundToV6Address = socket.pointee.keepsAddress && local?.address.isV6 == true
    setNetwork(network, &context)
    if let peer = socket.pointee.peer { context.pathMTU = Int32(clamping: mtu(to: peer.address, network)) }
    return context
  }

  /// The largest packet that goes to an address whole; a host's own are as long as packets can be (65,536: Linux's lo).
  func mtu(to address: IPAddress, _ network: Network) -> Int {
    address.isLoopback || network.interface.owns(address) ? 65_536 : network.interface.pathMTU(to: address)
  }
}
