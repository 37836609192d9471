internal import CLwip
internal import Frames
internal import Glibc

/// lwIP's packet buffers over memory that frames lend.
///
/// Theory of operation: a large received frame is not copied: a custom pbuf (lwIP's `pbuf_custom`) refers to its memory
/// and holds a reference of the frame, which the pbuf's last free releases. A frame that others read too (from a hub) has
/// its headers copied, because lwIP turns header fields to host byte order in place; only its payload is referred to.
/// Small frames are copied whole (copybreak): a 66-byte acknowledgement must not pin a 64 KiB buffer.
struct PacketBuffers {
  /// Frames up to this size are copied; above, the memory is shared.
  static let copybreakBytes = 2048
  /// Ethernet, IPv6 with an extension header, and TCP with all options (14 + 40 + 8 + 60), rounded up.
  static let headerBytes = 128

  private struct Lent {
    var custom: pbuf_custom
    var frame: Unmanaged<Frame>?
  }

  nonisolated(unsafe) private static var free: [UnsafeMutablePointer<Lent>] = []

  /// A pbuf chain for `frame`, or nil without memory. Retains the frame where it refers to it.
  static func make(_ frame: Frame) -> UnsafeMutablePointer<pbuf>? {
    guard frame.bytes <= Int(UInt16.max) else { return nil }
    if frame.bytes <= copybreakBytes || frame.isScarce { return copy(frame, bytes: frame.bytes) }
    if frame.isExclusive, frame.count == 1 {
      return lend(frame, frame.vectors[0].iov_base, frame.vectors[0].iov_len)
    }
    let headerBytes = min(Self.headerBytes, frame.bytes)
    guard let chain = copy(frame, bytes: headerBytes) else { return nil }
    var skip = headerBytes
    for index in 0..<frame.count {
      let vector = frame.vectors[index]
      if skip >= vector.iov_len {
        skip -= vector.iov_len
        continue
      }
      guard let piece = lend(frame, vector.iov_base + skip, vector.iov_len - skip) else {
        pbuf_free(chain)
        return nil
      }
      skip = 0
      pbuf_cat(chain, piece)
    }
    return chain
  }

  private static func copy(_ frame: Frame, bytes: Int) -> UnsafeMutablePointer<pbuf>? {
    guard let p = pbuf_alloc(PBUF_RAW, UInt16(bytes), PBUF_RAM) else { return nil }
    var offset = 0
    for index in 0..<frame.count where offset < bytes {
      let vector = frame.vectors[index]
      let length = min(vector.iov_len, bytes - offset)
      (p.pointee.payload + offset).copyMemory(from: vector.iov_base, byteCount: length)
      offset += length
    }
    return p
  }

  private static func lend(_ frame: Frame, _ base: UnsafeMutableRawPointer, _ bytes: Int) -> UnsafeMutablePointer<pbuf>?
  {
    let lent: UnsafeMutablePointer<Lent>
    if let reused = free.popLast() {
      lent = reused
    } else {
      lent = .allocate(capacity: 1)
      lent.initialize(to: Lent(custom: pbuf_custom(), frame: nil))
    }
    lent.pointee.custom.custom_free_function = { p in
      guard let p else { return }
      let lent = UnsafeMutableRawPointer(p).assumingMemoryBound(to: Lent.self)
      let frame = lent.pointee.frame.take()
      PacketBuffers.free.append(lent)
      frame?._withUnsafeGuaranteedRef { $0.release() }
    }
    frame.retain()
    lent.pointee.frame = .passUnretained(frame)
    let custom = UnsafeMutableRawPointer(lent).assumingMemoryBound(to: pbuf_custom.self)
    return pbuf_alloced_custom(PBUF_RAW, UInt16(bytes), PBUF_REF, custom, base, UInt16(bytes))
  }
}
