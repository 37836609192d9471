internal import Glibc

/// A frame as a wire would carry it: one packet, or the segments that segmentation offload would make of it.
///
/// Theory of operation: a super-segment (TCP, up to 64 KiB; virtio 1.2 section 5.1.6.2) repeats its headers in front of each
/// `segmentBytes` of payload. Any run of consecutive segments is again such a frame, with headers put right: lengths, the
/// sequence number, IPv4's identification and checksum, flags that only the first or the last segment carries, and the
/// pseudo-header's sum (as the kernel's inet_gso_segment and tcp_gso_segment do). So what has one fate need not be cut.
public struct WirePackets {
  private let frame: Frame
  /// How many packets.
  public let count: Int
  private let isV6: Bool
  /// Where TCP's header begins, and the payload.
  private let tcpOffset: Int
  private let headerBytes: Int
  private let segmentBytes: Int

  private static let ipOffset = 14
  private static let finAndPush: UInt8 = 0x09
  private static let reducedWindow: UInt8 = 0x80  // CWR, RFC 3168

  public init(_ frame: Frame) {
    self.frame = frame
    let head = frame.head
    let kind = frame.offload.segmentation & 0x7f  // without VIRTIO_NET_HDR_GSO_ECN
    isV6 = kind == OffloadHeader.segmentationTCPv6
    var tcpOffset = 0
    if isV6, head.count >= 74 {
      // Behind extension headers it is where the checksum starts.
      tcpOffset = head[20] == 6 ? 54 : Int(frame.offload.checksumStart)
    } else if kind == OffloadHeader.segmentationTCPv4, head.count >= 54 {
      tcpOffset = Self.ipOffset + Int(head[14] & 0xf) * 4
    }
    let isTCP = tcpOffset >= 34 && head.count >= tcpOffset + 20
    let headerBytes = isTCP ? tcpOffset + Int(head[tcpOffset + 12] >> 4) * 4 : 0
    let segmentBytes = Int(frame.offload.segmentBytes)
    let payloadBytes = frame.bytes - headerBytes
    let isCuttable = isTCP && segmentBytes > 0 && head.count >= headerBytes && payloadBytes > segmentBytes
    self.tcpOffset = tcpOffset
    self.headerBytes = headerBytes
    self.segmentBytes = segmentBytes
    count = isCuttable ? (payloadBytes + segmentBytes - 1) / segmentBytes : 1
  }

  /// Where the payload of a run of segments lies in the frame.
  private func payload(_ run: Range<Int>) -> Range<Int> {
    let start = headerBytes + run.lowerBound * segmentBytes
    return start..<min(frame.bytes, headerBytes + run.upperBound * segmentBytes)
  }

  /// The bytes of a run, with the headers that it has as one frame.
  public func bytes(of run: Range<Int>) -> Int { count == 1 ? frame.bytes : headerBytes + payload(run).count }

  /// What a run still needs as one frame.
  public func offload(of run: Range<Int>) -> OffloadHeader {
    var offload = frame.offload
    guard count > 1 else { return offload }
    offload.flags = OffloadHeader.needsChecksum
    offload.checksumStart = UInt16(tcpOffset)
    offload.checksumOffset = 16
    offload.headerBytes = UInt16(headerBytes)
    if run.count == 1 {
      offload.segmentation = 0
      offload.segmentBytes = 0
      offload.headerBytes = 0
    }
    return offload
  }

  /// How many pieces a run has as a frame of its own, headers included.
  public func pieceCount(of run: Range<Int>) -> Int {
    var count = 1
    forEachPiece(payload(run)) { _, _ in count += 1 }
    return count
  }

  /// Makes `other` the frame of a run that is not the whole: headers of its own, in memory that `other.context` has then,
  /// and the payload by reference.
  public func lend(_ run: Range<Int>, to other: Frame) {
    let headers = UnsafeMutableRawPointer.allocate(byteCount: headerBytes, alignment: 16)
    writeHeaders(of: run, to: headers)
    other.context = headers
    other.offload = offload(of: run)
    _ = other.append(headers, count: headerBytes)
    forEachPiece(payload(run)) { _ = other.append($0, count: $1) }
  }

  /// Copies a run, headers included, to memory of `bytes(of: run)` bytes.
  public func copy(_ run: Range<Int>, to memory: UnsafeMutableRawPointer) {
    var target = memory
    if count > 1 {
      writeHeaders(of: run, to: memory)
      target += headerBytes
    }
    forEachPiece(count > 1 ? payload(run) : 0..<frame.bytes) {
      target.copyMemory(from: $0, byteCount: $1)
      target += $1
    }
  }

  private func forEachPiece(_ range: Range<Int>, _ body: (UnsafeMutableRawPointer, Int) -> Void) {
    var offset = 0
    for index in 0..<frame.count where offset < range.upperBound {
      let vector = frame.vectors[index]
      let piece = range.clamped(to: offset..<(offset + vector.iov_len))
      if !piece.isEmpty { body(vector.iov_base + (piece.lowerBound - offset), piece.count) }
      offset += vector.iov_len
    }
  }

  private func writeHeaders(of run: Range<Int>, to memory: UnsafeMutableRawPointer) {
    memory.copyMemory(from: frame.head.baseAddress.unsafelyUnwrapped, byteCount: headerBytes)
    let ip = memory + Self.ipOffset
    let tcp = memory + tcpOffset
    let bytes = headerBytes + payload(run).count
    func word(_ base: UnsafeMutableRawPointer, _ offset: Int) -> UInt16 {
      UInt16(bigEndian: base.loadUnaligned(fromByteOffset: offset, as: UInt16.self))
    }
    func put(_ value: UInt16, _ base: UnsafeMutableRawPointer, _ offset: Int) {
      base.storeBytes(of: value.bigEndian, toByteOffset: offset, as: UInt16.self)
    }
    if isV6 {
      put(UInt16(bytes - Self.ipOffset - 40), ip, 4)
    } else {
      put(UInt16(bytes - Self.ipOffset), ip, 2)
      put(word(ip, 4) &+ UInt16(truncatingIfNeeded: run.lowerBound), ip, 4)
      put(0, ip, 10)
      let header = UnsafeRawBufferPointer(start: ip, count: tcpOffset - Self.ipOffset)
      put(~InternetChecksum.sum(header), ip, 10)
    }
    let sequence = UInt32(bigEndian: tcp.loadUnaligned(fromByteOffset: 4, as: UInt32.self))
    let moved = sequence &+ UInt32(truncatingIfNeeded: run.lowerBound * segmentBytes)
    tcp.storeBytes(of: moved.bigEndian, toByteOffset: 4, as: UInt32.self)
    var flags = tcp.load(fromByteOffset: 13, as: UInt8.self)
    if run.lowerBound > 0 { flags &= ~Self.reducedWindow }
    if run.upperBound < count { flags &= ~Self.finAndPush }
    tcp.storeBytes(of: flags, toByteOffset: 13, as: UInt8.self)
    let sum = InternetChecksum.pseudoHeader(ip, isV6: isV6, transport: 6, bytes: bytes - tcpOffset)
    put(sum, tcp, 16)
  }
}

extension UnsafeMutableRawBufferPointer {
  /// Finishes the checksum that `offload` leaves open, in a packet that lies in one piece.
  public func finishChecksum(_ offload: OffloadHeader) {
    let start = Int(offload.checksumStart)
    let field = start + Int(offload.checksumOffset)
    guard offload.flags & OffloadHeader.needsChecksum != 0, field + 2 <= count else { return }
    // The field holds the pseudo-header's sum, so it is summed with the rest. 0 would mean that UDP has none (RFC 768).
    let sum = ~InternetChecksum.sum(UnsafeRawBufferPointer(rebasing: self[start...]))
    storeBytes(of: (sum == 0 ? 0xffff : sum).bigEndian, toByteOffset: field, as: UInt16.self)
  }

  /// The bytes of an Ethernet frame that checksums cover: an IPv4 packet, or an IPv6 packet from its addresses on (the
  /// pseudo-header has them); empty for anything else. What pads a short frame is nobody's.
  public var checkedBytes: Range<Int> {
    guard count >= 34 else { return 0..<0 }
    func word(_ offset: Int) -> Int { Int(self[offset]) << 8 | Int(self[offset + 1]) }
    switch word(12) {
    case 0x0800: return 14..<Swift.min(count, 14 + Swift.max(20, word(16)))
    case 0x86dd where count >= 54: return 22..<Swift.min(count, 54 + word(18))
    default: return 0..<0
    }
  }
}
