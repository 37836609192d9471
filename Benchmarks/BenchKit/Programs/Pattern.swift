internal import Glibc

/// The bytes that every transfer carries, so that the receiver can check each one where it stands: byte p of the stream
/// with a given seed is `table[p % period]`.
///
/// The period is prime, and so has no factor in common with a segment, a page or a buffer: a run that was lost, doubled
/// or swapped shows unless it is a multiple of 65,521 bytes long, and then the count or the digest shows it. Checking
/// is one memcmp against the table, which stays in the L2 cache.
public struct Pattern: ~Copyable, @unchecked Sendable {  // the table never changes
  /// The largest prime below 2^16.
  public static let period = 65_521

  /// How many bytes `bytes(at:count:)` gives at most.
  public let windowBytes: Int
  private let table: UnsafeMutableRawPointer

  /// - Parameter seed: chooses the stream's content (splitmix64 of it, Steele et al. 2014).
  public init(seed: UInt64, windowBytes: Int) {
    precondition(windowBytes > 0)
    self.windowBytes = windowBytes
    table = .allocate(byteCount: Pattern.period + windowBytes, alignment: 64)
    var state = seed
    for index in 0..<Pattern.period {
      state &+= 0x9e37_79b9_7f4a_7c15
      var mixed = state
      mixed = (mixed ^ (mixed >> 30)) &* 0xbf58_476d_1ce4_e5b9
      mixed = (mixed ^ (mixed >> 27)) &* 0x94d0_49bb_1331_11eb
      table.storeBytes(of: UInt8(truncatingIfNeeded: mixed >> 56), toByteOffset: index, as: UInt8.self)
    }
    for index in Pattern.period..<(Pattern.period + windowBytes) {
      let byte = table.load(fromByteOffset: index - Pattern.period, as: UInt8.self)
      table.storeBytes(of: byte, toByteOffset: index, as: UInt8.self)
    }
  }

  deinit { table.deallocate() }

  /// The stream's bytes from `position` on; valid as long as the pattern is.
  public func bytes(at position: UInt64, count: Int) -> UnsafeRawBufferPointer {
    precondition(count <= windowBytes)
    let offset = Int(position % UInt64(Pattern.period))
    return UnsafeRawBufferPointer(start: table + offset, count: count)
  }

  /// The first index at which `received`, which stands at `position` of the stream, is not the stream; nil if it is.
  public func firstMismatch(_ received: UnsafeRawBufferPointer, at position: UInt64) -> Int? {
    let expected = bytes(at: position, count: received.count)
    guard let mine = expected.baseAddress, let theirs = received.baseAddress else { return nil }
    if memcmp(mine, theirs, received.count) == 0 { return nil }
    return received.indices.first { expected[$0] != received[$0] }
  }
}
