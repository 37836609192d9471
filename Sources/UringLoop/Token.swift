/// What a submission carries and its completion brings back (`user_data`, 64 bits): whose operation it is.
///
/// Layout: kind 8 bits, operation 8 bits, owner 48 bits (a slab key, or any number the owner chooses).
public struct Token: Hashable, Sendable {
  public let rawValue: UInt64

  public init(rawValue: UInt64) { self.rawValue = rawValue }

  /// - Parameters:
  ///   - kind: the sort of object that waits, for the one dispatch switch of the program.
  ///   - operation: which of the object's operations this is.
  ///   - owner: the object; 48 bits.
  public init(kind: UInt8, operation: UInt8, owner: UInt64) {
    precondition(owner >> 48 == 0)
    rawValue = UInt64(kind) << 56 | UInt64(operation) << 48 | owner
  }

  public var kind: UInt8 { UInt8(truncatingIfNeeded: rawValue >> 56) }
  public var operation: UInt8 { UInt8(truncatingIfNeeded: rawValue >> 48) }
  public var owner: UInt64 { rawValue & 0xffff_ffff_ffff }
}

/// One completion (io_uring_enter(2), `struct io_uring_cqe`).
public struct Completion: Sendable {
  public let token: Token
  /// The operation's result: a count or descriptor, or a negated errno.
  public let result: Int32
  let flags: UInt32

  public init(token: Token, result: Int32, flags: UInt32 = 0) {
    self.token = token
    self.result = result
    self.flags = flags
  }

  /// A multishot operation stays armed and will complete again (IORING_CQE_F_MORE).
  public var more: Bool { flags & 0x2 != 0 }

  /// The provided buffer that the kernel chose (IORING_CQE_F_BUFFER), if one was taken.
  public var bufferIndex: Int? { flags & 0x1 != 0 ? Int(flags >> 16) : nil }
}
