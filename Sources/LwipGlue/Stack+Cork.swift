internal import CLwip
internal import Slab

/// TCP_CORK (tcp(7)): what fills no segment waits until the app uncorks, ends, or 200 ms have passed.
///
/// It waits outside of lwIP, which would send it with the next acknowledgement that arrives.
extension Stack {
  private static let corkMilliseconds: UInt64 = 200

  /// `write` for a connection that is corked: whole segments go on, the rest is kept.
  func writeCorked(
    _ key: SlabKey, _ connection: UnsafeMutablePointer<Connection>, _ pcb: UnsafeMutablePointer<tcp_pcb>,
    _ base: UnsafeRawPointer, count: Int, mayHold: Bool
  ) -> Int {
    let segment = connection.pointee.wireSegmentBytes
    let total = connection.pointee.corked.count + count
    var taken = 0
    if total >= segment {
      guard passCorked(connection, pcb) else { return 0 }
      let whole = count - total % segment
      taken = writeThrough(connection, pcb, base, count: whole, mayHold: mayHold)
      guard taken == whole else { return taken }
    }
    let rest = UnsafeRawBufferPointer(start: base + taken, count: count - taken)
    connection.pointee.corked.append(contentsOf: rest)
    if !connection.pointee.corked.isEmpty, corkedConnections[key] == nil {
      corkedConnections[key] = nowMilliseconds + Self.corkMilliseconds
    }
    return count
  }

  /// Hands what was kept to lwIP; false if it has no memory now.
  private func passCorked(
    _ connection: UnsafeMutablePointer<Connection>, _ pcb: UnsafeMutablePointer<tcp_pcb>
  ) -> Bool {
    guard !connection.pointee.corked.isEmpty else { return true }
    let status = connection.pointee.corked.withUnsafeBytes {
      tcp_write(pcb, $0.baseAddress, UInt16($0.count), UInt8(TCP_WRITE_FLAG_COPY))
    }
    guard status == ERR_OK.rawValue else { return false }
    connection.pointee.corked.removeAll()
    return true
  }

  /// Sends what was kept.
  func uncork(_ key: SlabKey) {
    corkedConnections[key] = nil
    guard let connection = connections.pointer(key), let pcb = connection.pointee.pcb,
      !connection.pointee.corked.isEmpty
    else { return }
    guard passCorked(connection, pcb) else {
      corkedConnections[key] = nowMilliseconds + Self.corkMilliseconds  // no memory: later
      return
    }
    tcp_output(pcb)
    blocks.noteWork(pcb)
  }

  /// Sends what was kept for too long.
  func uncorkOverdue() {
    for (key, deadline) in corkedConnections where deadline <= nowMilliseconds { uncork(key) }
  }
}
