internal import LwipGlue
internal import Slab

/// SO_REUSEPORT: several listeners on one address and port. The stack knows one listener; the first socket to listen holds
/// it, with the keys of all, and each new connection goes to the one that a hash of its peer picks, as in Linux.
extension Daemon {
  /// Joins the listeners on the same address and port. Returns false where there are none: `key` is the first.
  func shareListener(_ key: SlabKey, port: UInt16, _ network: Network) -> Bool {
    guard let local = sockets.pointer(key)?.pointee.local else { return false }
    let others = network.ports.listeners(port: port, for: local.address)
    for other in others where other != key {
      guard let leader = sockets.pointer(other), leader.pointee.listener != nil, leader.pointee.local == local
      else { continue }
      leader.pointee.sharers.append(key)
      return true
    }
    return false
  }

  /// The listener that a connection with this hash goes to.
  func chooseSharer(_ leader: SlabKey, hash: Int) -> SlabKey? {
    guard let sharers = sockets.pointer(leader)?.pointee.sharers, !sharers.isEmpty else { return nil }
    return sharers[Int(UInt(bitPattern: hash) % UInt(sharers.count))]
  }

  /// A listener closes: another one that shares its port takes the stack's listener over; the last one ends it.
  func leaveSharers(_ key: SlabKey, _ socket: UnsafeMutablePointer<Socket>) {
    if let listener = socket.pointee.listener {
      let heirs = socket.pointee.sharers.filter { $0 != key }
      if let heir = heirs.first, let next = sockets.pointer(heir) {
        next.pointee.listener = listener
        next.pointee.sharers = heirs
        stack.setOwner(heir.bits, ofListener: listener)
      } else {
        stack.closeListener(listener)
      }
      socket.pointee.listener = nil
      socket.pointee.sharers = []
    } else if let port = socket.pointee.boundPort, let local = socket.pointee.local {
      for other in networkTable[socket.pointee.network].ports.listeners(port: port, for: local.address) {
        sockets.pointer(other)?.pointee.sharers.removeAll { $0 == key }
      }
    }
  }
}
