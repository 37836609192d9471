internal import CLwip
internal import Glibc
public import Slab

/// Options of a TCP socket that have an effect in the stack.
extension Stack {
  /// IP_TTL, IPV6_UNICAST_HOPS: from the next segment on.
  public func setHopLimit(_ key: SlabKey, _ limit: UInt8) {
    connections.pointer(key)?.pointee.pcb?.pointee.ttl = limit
  }

  /// IP_TOS, IPV6_TCLASS: from the next segment on.
  public func setTrafficClass(_ key: SlabKey, _ value: UInt8) {
    connections.pointer(key)?.pointee.pcb?.pointee.tos = value
  }

  /// SO_RCVBUF: the most that is received and announced beyond what the owner has consumed. A window that the peer has
  /// been told of is not taken back (RFC 9293 section 3.8.6): it shrinks as the owner consumes.
  public func setReceiveLimit(_ key: SlabKey, bytes: Int) {
    guard let connection = connections.pointer(key) else { return }
    connection.pointee.receiveLimitBytes = max(1, bytes)
    guard connection.pointee.isEstablished, let pcb = connection.pointee.pcb else { return }
    nc_tcp_credit(pcb, UInt32(creditAfterConsuming(connection, pcb, 0)))
  }

  /// By how much the window opens now that the owner has consumed `bytes` more.
  func creditAfterConsuming(
    _ connection: UnsafeMutablePointer<Connection>, _ pcb: UnsafeMutablePointer<tcp_pcb>, _ bytes: Int
  ) -> Int {
    guard Self.isSourceBuild || connection.pointee.receiveLimitBytes != nil else { return bytes }
    return max(0, receiveLimit(connection, pcb) - connection.pointee.receivedBytes - Int(pcb.pointee.rcv_wnd))
  }

  /// TCP_USER_TIMEOUT: how long sent data, or a SYN, may stay unacknowledged; 0 for lwIP's own limit of retransmissions.
  public func setUserTimeout(_ key: SlabKey, milliseconds: UInt32) {
    guard let connection = connections.pointer(key) else { return }
    connection.pointee.userTimeoutMilliseconds = milliseconds
    if milliseconds == 0 { timedConnections.remove(key) } else { timedConnections.insert(key) }
  }

  /// Ends connections whose peers have not acknowledged anything for the user's timeout. lwIP's timers run while there are
  /// connections, so this is looked at often enough.
  func endOverdueConnections() {
    for key in timedConnections {
      guard let connection = connections.pointer(key), let pcb = connection.pointee.pcb else {
        timedConnections.remove(key)
        continue
      }
      guard pcb.pointee.unacked != nil || pcb.pointee.unsent != nil else { continue }
      let deadline = connection.pointee.lastProgressMilliseconds + UInt64(connection.pointee.userTimeoutMilliseconds)
      guard nowMilliseconds > deadline else { continue }
      timedConnections.remove(key)
      fail(key, connection.pointee.softError != 0 ? connection.pointee.softError : ETIMEDOUT)
    }
  }
}
