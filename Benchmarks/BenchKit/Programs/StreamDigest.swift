/// A 64-bit digest of a byte stream, eight bytes a step, the same however the stream is cut. Not cryptographic: it
/// tells that two ends saw the same bytes, against accidents, not against intent.
public struct StreamDigest: Sendable {
  private static let multiplier: UInt64 = 0x9e37_79b9_7f4a_7c15

  private var state: UInt64 = 0xcbf2_9ce4_8422_2325
  private var partial: UInt64 = 0
  private var partialBytes: UInt64 = 0
  private var count: UInt64 = 0

  public init() {}

  private mutating func step(_ word: UInt64) {
    state = (state ^ word) &* StreamDigest.multiplier
    state ^= state >> 32
  }

  private mutating func append(_ byte: UInt8) {
    partial |= UInt64(byte) << (8 * partialBytes)
    partialBytes += 1
    if partialBytes == 8 {
      step(partial)
      partial = 0
      partialBytes = 0
    }
  }

  /// Takes the next bytes of the stream.
  public mutating func update(_ bytes: UnsafeRawBufferPointer) {
    count &+= UInt64(bytes.count)
    var index = 0
    while index < bytes.count && partialBytes != 0 {
      append(bytes[index])
      index += 1
    }
    while index + 8 <= bytes.count {
      step(UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: index, as: UInt64.self)))
      index += 8
    }
    while index < bytes.count {
      append(bytes[index])
      index += 1
    }
  }

  /// The digest of what came so far, its length included.
  public var value: UInt64 {
    var copy = self
    copy.step(partial)
    copy.step(count)
    return copy.state
  }
}
