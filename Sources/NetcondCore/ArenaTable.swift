internal import CSocket
internal import Glibc
internal import NetcondRPC

/// Shared send memory (netcond_arena.h), of all connections that have some: which blocks the stack and the links refer to,
/// and when a block is the library's again.
///
/// Theory of operation: all arenas lie in one reserved range, so that an address tells arena and block. What a library
/// writes there can spoil only its own connection's bytes: lengths are checked, sizes are sealed, and references are counted
/// here, not there. An arena lives until its connection has closed and the last reference is gone; then, and after two
/// seconds without use, its memory goes back to the system, whoever still has it mapped.
final class ArenaTable {
  /// Arenas at a time: of each, 4 MiB at most are touched.
  static let limit = 128
  private static let bytes = NC_ARENA_BYTES
  private static let blocks = NC_ARENA_BLOCKS
  private static let stride = NC_ARENA_STRIDE
  private static let headerBytes = NC_ARENA_HEADER_BYTES
  private static let blockBytes = NC_ARENA_BLOCK_BYTES
  private static let idleNanoseconds: UInt64 = 2_000_000_000

  private struct Arena {
    let descriptor: Int32
    /// A connection has it.
    var isOwned = true
    /// Blocks with references.
    var heldBlocks = 0
    /// When a block was last taken; nil: nothing of it is touched since it was trimmed.
    var usedAt: UInt64?
  }

  private let base: UnsafeMutableRawPointer
  private var arenas: [Arena?]
  private var references: [UInt32]
  /// When to look for arenas that are not used any more; nil: none is touched.
  private(set) var deadline: UInt64?

  /// nil where the addresses cannot be reserved, or where touching memory may fail although it is mapped: with strict
  /// accounting (overcommit_memory 2) that is SIGBUS.
  init?() {
    guard !Self.accountsStrictly,
      let base = mmap(
        nil, Self.bytes * Self.limit, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0),
      base != MAP_FAILED
    else { return nil }
    self.base = base
    arenas = Array(repeating: nil, count: Self.limit)
    references = Array(repeating: 0, count: Self.limit * Self.blocks)
  }

  deinit {
    for case let arena? in arenas { close(arena.descriptor) }
    munmap(base, Self.bytes * Self.limit)
  }

  private static var accountsStrictly: Bool {
    let file = open("/proc/sys/vm/overcommit_memory", O_RDONLY | O_CLOEXEC)
    guard file >= 0 else { return false }
    defer { close(file) }
    var digit: UInt8 = 0
    return read(file, &digit, 1) == 1 && digit == UInt8(ascii: "2")
  }

  private func memory(_ index: Int) -> UnsafeMutableRawPointer { base + index * Self.bytes }

  private func header(_ index: Int) -> UnsafeMutablePointer<nc_arena> {
    memory(index).assumingMemoryBound(to: nc_arena.self)
  }

  /// Makes an arena; nil where there are enough, or no memory or descriptor for it.
  /// - Parameters:
  ///   - wideBytes: the send buffer of the app's end while no markers are sent.
  ///   - mayKeep: whether a descriptor of this number may be kept.
  func make(wideBytes: Int32, mayKeep: (Int32) -> Bool) -> Int? {
    guard let index = arenas.firstIndex(where: { $0 == nil }) else { return nil }
    let descriptor = nc_make_shared_memory(Self.bytes)
    guard descriptor >= 0 else { return nil }
    let mapped = mmap(
      memory(index), Self.bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED | MAP_NORESERVE, descriptor, 0)
    guard mapped != MAP_FAILED, mayKeep(descriptor) else {
      if mapped != MAP_FAILED { reserve(index) }
      close(descriptor)
      return nil
    }
    header(index).pointee.wide_bytes = wideBytes
    nc_arena_give(header(index), .max)
    arenas[index] = Arena(descriptor: descriptor)
    return index
  }

  /// The memory as a file, for the library to map.
  func descriptor(of index: Int) -> Int32 { arenas[index]!.descriptor }

  /// Bytes of blocks whose markers lie in the pair. As the library tells.
  func queuedBytes(of index: Int) -> Int { Int(nc_arena_queued(header(index))) }

  /// The bytes that a marker announces, with one reference; nil where the marker makes no sense.
  func take(_ index: Int, block: UInt8, now: UInt64) -> (address: UnsafeRawPointer, count: Int)? {
    guard block < Self.blocks, arenas[index] != nil else { return nil }
    let count = Int(nc_arena_heed(header(index), UInt32(block)))
    guard (1...Self.blockBytes).contains(count) else { return nil }
    arenas[index]!.usedAt = now
    if deadline == nil { deadline = now + Self.idleNanoseconds }
    let address = memory(index) + Self.headerBytes + Int(block) * Self.stride
    retain(holding: address)
    return (UnsafeRawPointer(address), count)
  }

  func contains(_ address: UnsafeRawPointer) -> Bool {
    let offset = address - UnsafeRawPointer(base)
    return offset >= 0 && offset < Self.bytes * Self.limit
  }

  func retain(holding address: UnsafeRawPointer) {
    let (index, block) = place(of: address)
    let slot = index * Self.blocks + block
    if references[slot] == 0 { arenas[index]!.heldBlocks += 1 }
    references[slot] += 1
  }

  /// Gives back one reference; the last one gives the block back to the library.
  func release(holding address: UnsafeRawPointer) {
    let (index, block) = place(of: address)
    let slot = index * Self.blocks + block
    precondition(references[slot] > 0, "a block was released more often than retained")
    references[slot] -= 1
    guard references[slot] == 0 else { return }
    arenas[index]!.heldBlocks -= 1
    nc_arena_give(header(index), 1 << UInt64(block))
    if !arenas[index]!.isOwned, arenas[index]!.heldBlocks == 0 { remove(index) }
  }

  private func place(of address: UnsafeRawPointer) -> (index: Int, block: Int) {
    let offset = address - UnsafeRawPointer(base)
    let (index, within) = offset.quotientAndRemainder(dividingBy: Self.bytes)
    return (index, (within - Self.headerBytes) / Self.stride)
  }

  /// The connection has closed; what is still to be sent stays until then.
  func disown(_ index: Int) {
    arenas[index]!.isOwned = false
    if arenas[index]!.heldBlocks == 0 { remove(index) }
  }

  private func remove(_ index: Int) {
    madvise(memory(index), Self.bytes, Int32(MADV_REMOVE))
    close(arenas[index]!.descriptor)
    reserve(index)
    arenas[index] = nil
  }

  private func reserve(_ index: Int) {
    let flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED
    precondition(
      mmap(memory(index), Self.bytes, PROT_NONE, flags, -1, 0) != MAP_FAILED, "addresses once had are had again")
  }

  /// Gives the memory of unused arenas back to the system.
  func trim(now: UInt64) {
    guard let deadline, deadline <= now else { return }
    self.deadline = nil
    for (index, arena) in arenas.enumerated() {
      guard let usedAt = arena?.usedAt else { continue }
      if now >= usedAt + Self.idleNanoseconds {
        trim(index)
      } else {
        self.deadline = min(self.deadline ?? .max, usedAt + Self.idleNanoseconds)
      }
    }
  }

  /// Blocks are taken before their pages go, so that nobody writes there meanwhile.
  private func trim(_ index: Int) {
    let free = nc_arena_take_all(header(index))
    var block = 0
    func isUnused(_ block: Int) -> Bool {
      free >> UInt64(block) & 1 == 1 && references[index * Self.blocks + block] == 0
    }
    while block < Self.blocks {
      let first = block
      while block < Self.blocks, isUnused(block) { block += 1 }
      guard block > first else {
        block += 1
        continue
      }
      let start = memory(index) + Self.headerBytes + first * Self.stride
      madvise(start, (block - first) * Self.stride, Int32(MADV_REMOVE))
    }
    nc_arena_give(header(index), free)
    arenas[index]!.usedAt = nil
  }
}
