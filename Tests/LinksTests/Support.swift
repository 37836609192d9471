import Frames
import Glibc
import Links
import Testing
import UringLoop

/// Whether this machine lets a program have a ring at all.
let ringIsAvailable: Bool = (try? Ring(entries: 2)) != nil

/// What a link needs of its loop.
struct Loop {
  let ring: Ring
  let pool: BufferPool
  let frames = FramePool(limit: 4096)
  let attention = LinkAttention()

  init(bufferCount: Int = 64, limit: Capabilities.Limit = .newest) throws {
    ring = try Ring(entries: 64, limit: limit)
    pool = try BufferPool(ring: ring, group: 1, bufferBytes: 68 * 1024, count: bufferCount, ringDepth: bufferCount)
  }

  func context(_ number: UInt16) -> LinkContext {
    LinkContext(
      ring: ring, receivePool: pool, frames: frames, kind: 1, number: number, attention: attention)
  }
}

extension LinkAttention {
  /// Whether a link has called since the last time.
  func take() -> Bool {
    defer { isWanted = false }
    return isWanted
  }
}

/// A network that only notes what its link tells.
final class Listener: LinkDelegate {
  var received: [String] = []
  var receivedFrames: [Frame] = []
  var readyCount = 0
  var changeCount = 0
  /// Runs inside the delivery of a frame.
  var onReceive: () -> Void = {}

  func link(_ link: any Link, received frame: Frame) {
    received.append(text(of: frame))
    receivedFrames.append(frame)
    onReceive()
  }
  func linkChanged(_ link: any Link) { changeCount += 1 }
  func linkReady(_ link: any Link) { readyCount += 1 }

  func takeReceived() -> [String] {
    defer { received = [] }
    return received
  }
}

/// What a frame carries behind Ethernet's header.
func text(of frame: Frame) -> String { String(decoding: frame.head.dropFirst(14), as: UTF8.self) }

/// Makes frames, and counts those that came back.
final class FrameMaker: FrameSource {
  private let frames: FramePool
  private(set) var releasedCount = 0
  let isScarce = false

  init(_ frames: FramePool) { self.frames = frames }

  func frameReleased(_ frame: Frame) {
    releasedCount += 1
    frame.context?.deallocate()
  }

  func make(to destination: MACAddress, from source: MACAddress, _ text: String) throws -> Frame {
    let bytes = destination.bytes + source.bytes + [0x88, 0xb5] + Array(text.utf8)  // a local experimental EtherType
    return try make(bytes, firstPiece: bytes.count, pieceBytes: bytes.count)
  }

  /// A frame of any bytes, in pieces.
  func make(_ bytes: [UInt8], firstPiece: Int, pieceBytes: Int) throws -> Frame {
    let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: bytes.count, alignment: 16)
    memory.copyBytes(from: bytes)
    let frame = try #require(frames.make(source: self))
    var (offset, count) = (0, firstPiece)
    while offset < bytes.count {
      try #require(frame.append(memory.baseAddress! + offset, count: min(count, bytes.count - offset)))
      (offset, count) = (offset + count, pieceBytes)
    }
    frame.context = memory.baseAddress
    return frame
  }
}

extension MACAddress {
  /// The address of test host `number`.
  static func host(_ number: Int) -> MACAddress { MACAddress(bits: 0x0200_0000_0000 | UInt64(number)) }
  static let broadcast = MACAddress(bits: 0xffff_ffff_ffff)
}
