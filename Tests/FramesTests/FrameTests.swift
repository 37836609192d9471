import Frames
import Glibc
import Testing

/// Lends memory, and counts what comes back.
private final class Lender: FrameSource {
  var released: [Int] = []
  var isScarce = false
  func frameReleased(_ frame: Frame) { released.append(frame.tag) }
}

@Suite struct FrameTests {
  private let lender = Lender()
  private let memory = UnsafeMutableRawPointer.allocate(byteCount: 256, alignment: 16)

  @Test func `the last release gives the memory back, once`() throws {
    defer { memory.deallocate() }
    let pool = FramePool(limit: 4)
    let frame = try #require(pool.make(source: lender))
    frame.tag = 42
    frame.retain()
    frame.retain()
    frame.release()
    frame.release()
    #expect(lender.released == [])
    #expect(pool.liveCount == 1)
    frame.release()
    #expect(lender.released == [42])
    #expect(pool.liveCount == 0)
  }

  @Test func `a released frame is used again, as new`() throws {
    defer { memory.deallocate() }
    let pool = FramePool(limit: 4)
    let first = try #require(pool.make(source: lender))
    first.isExclusive = true
    first.tag = 5
    first.context = memory
    first.offload.flags = OffloadHeader.needsChecksum
    #expect(first.append(memory, count: 60))
    first.release()
    let second = try #require(pool.make(source: lender))
    #expect(second === first)
    #expect((second.count, second.bytes, second.tag) == (0, 0, 0))
    #expect(!second.isExclusive)
    #expect(second.context == nil)
    #expect(second.offload == OffloadHeader())
    second.release()
    #expect(lender.released.count == 2)
  }

  @Test func `at the limit there is no frame, until one comes back`() throws {
    defer { memory.deallocate() }
    let pool = FramePool(limit: 2)
    let first = try #require(pool.make(source: lender))
    let second = try #require(pool.make(source: lender))
    #expect(first.index != second.index)
    #expect(pool[first.index] === first)
    #expect(pool[second.index] === second)
    #expect(pool.make(source: lender) == nil)
    #expect(pool.liveCount == 2)
    first.release()
    let third = try #require(pool.make(source: lender))
    #expect(third === first)
    third.release()
    second.release()
  }

  @Test func `pieces line up behind the offload header, up to the capacity`() throws {
    defer { memory.deallocate() }
    let pool = FramePool(limit: 1, piecesPerFrame: 3)
    let frame = try #require(pool.make(source: lender))
    for piece in 0..<3 { #expect(frame.append(memory + 16 * piece, count: piece + 1)) }
    #expect(!frame.append(memory, count: 100))
    #expect((frame.count, frame.bytes, frame.capacity) == (3, 6, 3))
    #expect(frame.head.baseAddress == UnsafeRawPointer(memory))
    #expect(frame.head.count == 1)
    let lengths = (0...3).map { frame.vectorsWithHeader[$0].iov_len }
    #expect(lengths == [12, 1, 2, 3])
    #expect(frame.vectors[2].iov_base == memory + 32)
    frame.release()
  }

  @Test func `writing a frame puts its offload header first`() throws {
    defer { memory.deallocate() }
    let pool = FramePool(limit: 1)
    let frame = try #require(pool.make(source: lender))
    var offload = OffloadHeader()
    offload.segmentBytes = 0x1234
    frame.offload = offload
    memory.storeBytes(of: 0xab, as: UInt8.self)
    _ = frame.append(memory, count: 1)
    var ends: [Int32] = [-1, -1]
    try #require(pipe(&ends) == 0)
    #expect(writev(ends[1], frame.vectorsWithHeader, 2) == 13)
    var bytes = [UInt8](repeating: 0, count: 64)
    #expect(read(ends[0], &bytes, 64) == 13)
    #expect(UInt16(bytes[4]) | UInt16(bytes[5]) << 8 == UInt16(littleEndian: 0x1234))
    #expect(bytes[12] == 0xab)
    for end in ends { close(end) }
    frame.release()
  }

  @Test func `scarcity is the source's word`() throws {
    defer { memory.deallocate() }
    let pool = FramePool(limit: 1)
    let frame = try #require(pool.make(source: lender))
    #expect(!frame.isScarce)
    lender.isScarce = true
    #expect(frame.isScarce)
    frame.release()
  }
}

@Suite struct OffloadHeaderTests {
  /// struct virtio_net_hdr_v1, virtio 1.2 section 5.1.6.
  @Test func `is twelve bytes in virtio's layout`() {
    var header = OffloadHeader()
    header.flags = 1
    header.segmentation = 4
    header.headerBytes = 0x0302
    header.segmentBytes = 0x0504
    header.checksumStart = 0x0706
    header.checksumOffset = 0x0908
    header.bufferCount = 0x0b0a
    #expect(MemoryLayout<OffloadHeader>.size == 12)
    #expect(MemoryLayout<OffloadHeader>.stride == 12)
    let bytes = withUnsafeBytes(of: header) { Array($0) }
    func word(_ offset: Int) -> UInt16 {
      bytes.withUnsafeBytes { $0.loadUnaligned(fromByteOffset: offset, as: UInt16.self) }
    }
    #expect((bytes[0], bytes[1]) == (1, 4))
    #expect([2, 4, 6, 8, 10].map { word($0) } == [0x0302, 0x0504, 0x0706, 0x0908, 0x0b0a])
  }

  @Test func `a sum that is partial or was verified is trusted, any other is not`() {
    var header = OffloadHeader()
    #expect(!header.isTrusted)
    header.flags = OffloadHeader.needsChecksum
    #expect(header.isTrusted)
    header.flags = OffloadHeader.checksumValid
    #expect(header.isTrusted)
    header.flags = 4
    #expect(!header.isTrusted)
  }
}

@Suite struct MACAddressTests {
  @Test(arguments: ["00:00:00:00:00:00", "02:00:5e:10:00:01", "ff:ff:ff:ff:ff:ff", "0a:0b:0c:0d:0e:0f"])
  func `prints what it parsed`(text: String) throws {
    #expect(try #require(MACAddress(text)).description == text)
  }

  @Test func `upper case is understood and printed in lower case`() {
    #expect(MACAddress("AB:CD:EF:01:23:45")?.description == "ab:cd:ef:01:23:45")
  }

  @Test(arguments: [
    "", "02:00:5e:10:00", "02:00:5e:10:00:01:02", "02:00:5e:10:00:1", "02:00:5e:10:00:001", "02:00:5e:10:00:0g",
    "02-00-5e-10-00-01", "+1:00:00:00:00:00", "-1:00:00:00:00:00", " 2:00:00:00:00:00", "02:00:5e:10:00:01 ", ":::::",
    "０2:00:00:00:00:00",
  ])
  func `refuses what is none`(text: String) {
    #expect(MACAddress(text) == nil)
  }

  @Test func `bytes, memory and bits agree`() {
    let mac = MACAddress(bits: 0x0200_5e10_0001)
    #expect(mac.bytes == [0x02, 0x00, 0x5e, 0x10, 0x00, 0x01])
    #expect(mac.bytes.withUnsafeBytes { MACAddress(reading: $0.baseAddress!) } == mac)
    #expect(MACAddress(bits: 0xffff_0200_5e10_0001) == mac)
  }

  @Test func `text is never read as memory`() {
    let mac = MACAddress(bits: 0x0200_5e10_0001)
    #expect(MACAddress("02:00:5e:10:00:01") == mac)
  }

  @Test func `the first byte's lowest bit makes a group`() {
    #expect(MACAddress(bits: 0xffff_ffff_ffff).isGroup)
    #expect(MACAddress(bits: 0x3333_0000_0001).isGroup)
    #expect(MACAddress(bits: 0x0100_5e00_0001).isGroup)
    #expect(!MACAddress(bits: 0x0200_5e00_0001).isGroup)
    #expect(!MACAddress(bits: 0xfeff_ffff_ffff).isGroup)
  }
}
