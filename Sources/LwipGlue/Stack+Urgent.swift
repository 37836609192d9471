internal import CLwip
public import Slab

/// TCP's urgent data (RFC 6093), of which Linux makes single bytes out of band. lwIP ignores the pointers of received segments
/// and sends none; both happen here, at its hooks.
extension Stack {
  /// A segment with an urgent pointer: notes which byte that is. As Linux (and all others), the pointer is taken to be
  /// behind the urgent byte. A later one takes the place of one that was not taken yet.
  func noteUrgent(_ pcb: UnsafeMutablePointer<tcp_pcb>, _ header: UnsafeMutablePointer<tcp_hdr>) {
    guard let connection = connections.pointer(SlabKey(argument: pcb.pointee.callback_arg)),
      connection.pointee.pcb == pcb
    else { return }
    let pointer = UInt32(nc_tcp_header_urgent(header))
    let sequence = nc_tcp_header_sequence(header) &+ (pointer > 0 ? pointer - 1 : 0)
    guard Int32(bitPattern: sequence &- connection.pointee.readSequence) >= 0 else { return }  // taken already
    if let known = connection.pointee.receivedUrgent, Int32(bitPattern: sequence &- known) <= 0 { return }
    connection.pointee.receivedUrgent = sequence
  }

  /// How many bytes lie before the urgent byte, which may not have come yet; nil where there is none.
  public func bytesBeforeUrgent(_ key: SlabKey) -> Int? {
    guard let connection = connections.pointer(key), let urgent = connection.pointee.receivedUrgent else { return nil }
    let distance = Int32(bitPattern: urgent &- connection.pointee.readSequence)
    guard distance >= 0 else {
      connection.pointee.receivedUrgent = nil
      return nil
    }
    return Int(distance)
  }

  /// The urgent byte is to be an ordinary one.
  public func forgetUrgent(_ key: SlabKey) { connections.pointer(key)?.pointee.receivedUrgent = nil }

  /// Queues a byte as urgent, and sends what may be sent at once.
  public func writeUrgent(_ key: SlabKey, _ byte: UInt8) {
    guard let connection = connections.pointer(key), let pcb = connection.pointee.pcb else { return }
    if connection.pointee.superSegments {  // a segment of its own, or at the end of one that the wire carries whole
      let wire = connection.pointee.wireSegmentBytes
      pcb.pointee.mss = UInt16(max(wire, Int(nc_tcp_largest_unsent_length(pcb))))
    }
    var byte = byte
    guard tcp_write(pcb, &byte, 1, UInt8(TCP_WRITE_FLAG_COPY)) == ERR_OK.rawValue else { return }
    connection.pointee.sentUrgentEnd = pcb.pointee.snd_lbb
    nc_tcp_use_urgent { pcb, end in
      guard let pcb, let end, let urgent = Stack.current?.sentUrgentEnd(pcb) else { return false }
      end.pointee = urgent
      return true
    }
    tcp_output(pcb)
    blocks.noteWork(pcb)
  }

  private func sentUrgentEnd(_ pcb: UnsafePointer<tcp_pcb>) -> UInt32? {
    guard let connection = connections.pointer(SlabKey(argument: pcb.pointee.callback_arg)),
      connection.pointee.pcb.map({ UnsafePointer($0) }) == pcb
    else { return nil }
    return connection.pointee.sentUrgentEnd
  }
}
