/// A SYN as it leaves: lwIP announces what it could do at most, not what the link's MTU and the socket's options allow.
enum SynHeader {
  /// Lowers the MSS (RFC 9293 section 3.7.1) to `segment`, and the window to `window`.
  /// - Parameter tcp: the TCP header, options included.
  /// - Returns: whether anything was changed; the checksum then no longer holds.
  static func lower(_ tcp: UnsafeMutableRawPointer, segment: UInt16, window: UInt16) -> Bool {
    var isChanged = false
    if UInt16(bigEndian: tcp.loadUnaligned(fromByteOffset: 14, as: UInt16.self)) > window {
      tcp.storeBytes(of: window.bigEndian, toByteOffset: 14, as: UInt16.self)
      isChanged = true
    }
    let end = Int(tcp.load(fromByteOffset: 12, as: UInt8.self) >> 4) * 4
    var offset = 20
    while offset + 4 <= end {
      let kind = tcp.load(fromByteOffset: offset, as: UInt8.self)
      if kind == 0 { break }
      if kind == 1 {
        offset += 1
        continue
      }
      if kind == 2 {
        let announced = UInt16(bigEndian: tcp.loadUnaligned(fromByteOffset: offset + 2, as: UInt16.self))
        guard announced > segment else { break }
        tcp.storeBytes(of: segment.bigEndian, toByteOffset: offset + 2, as: UInt16.self)
        return true
      }
      offset += max(2, Int(tcp.load(fromByteOffset: offset + 1, as: UInt8.self)))
    }
    return isChanged
  }
}
