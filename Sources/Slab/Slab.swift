/// Names one element of a `Slab`: an index and the generation the slot had when the element was inserted, so that a
/// stale key (an io_uring completion or an lwIP callback that outlived its object) finds nothing instead of a stranger.
///
/// 48 bits in all, which leaves 16 of an io_uring `user_data` for the kind of the operation.
@frozen public struct SlabKey: Hashable, Sendable {
  /// The slot, from 0.
  public let index: UInt32
  /// Counts the slot's reuses, modulo 65,536; never 0 for a key of a slab.
  public let generation: UInt16

  @inlinable public init(index: UInt32, generation: UInt16) {
    self.index = index
    self.generation = generation
  }

  /// The key in the low 48 bits.
  @inlinable public var bits: UInt64 { UInt64(generation) << 32 | UInt64(index) }

  @inlinable public init(bits: UInt64) {
    self.init(index: UInt32(truncatingIfNeeded: bits), generation: UInt16(truncatingIfNeeded: bits >> 32))
  }
}

/// Fixed slots for elements that stay where they are in memory until removed.
///
/// Grows by chunks of `chunkCapacity` slots up to `capacity` and never shrinks; a removed slot is reused last-in,
/// first-out, which keeps the memory in use small and warm. Not thread-safe.
///
/// Everything is inlinable: a caller in another module specialises it for its element; without, each access would look up
/// generic metadata at run time.
public struct Slab<Element: ~Copyable>: ~Copyable {
  @usableFromInline struct Slot: ~Copyable {
    @usableFromInline var element: Element?
    @usableFromInline var generation: UInt16
    /// The next slot on the list of free ones; `held` while there is an element, which is looked up faster here than in the Optional.
    @usableFromInline var nextFree: UInt32

    @inlinable init(nextFree: UInt32) {
      element = nil
      generation = 1
      self.nextFree = nextFree
    }
  }

  @inlinable static var chunkCapacity: Int { 256 }
  @inlinable static var none: UInt32 { .max }
  @inlinable static var held: UInt32 { .max - 1 }

  @usableFromInline var chunks: [UnsafeMutablePointer<Slot>] = []
  @usableFromInline var firstFree: UInt32 = .max
  /// The most elements the slab will hold.
  public let capacity: Int
  /// How many elements it holds now.
  @usableFromInline internal var storedCount = 0
  public var count: Int { @inlinable get { storedCount } }

  @inlinable public init(capacity: Int) {
    precondition(capacity > 0 && capacity < Int(Self.held))
    self.capacity = capacity
  }

  @inlinable deinit {
    for chunk in chunks {
      chunk.deinitialize(count: Self.chunkCapacity)
      chunk.deallocate()
    }
  }

  @inlinable func slot(_ index: UInt32) -> UnsafeMutablePointer<Slot> {
    chunks[Int(index) / Self.chunkCapacity] + Int(index) % Self.chunkCapacity
  }

  @inlinable mutating func grow() {
    let chunk = UnsafeMutablePointer<Slot>.allocate(capacity: Self.chunkCapacity)
    let base = UInt32(chunks.count * Self.chunkCapacity)
    for offset in 0..<Self.chunkCapacity {
      let next = offset + 1 < Self.chunkCapacity ? base + UInt32(offset) + 1 : Self.none
      (chunk + offset).initialize(to: Slot(nextFree: next))
    }
    chunks.append(chunk)
    firstFree = base
  }

  /// Puts `element` into a free slot; nil (and the element is destroyed) where `capacity` elements are held already.
  @inlinable public mutating func insert(_ element: consuming Element) -> SlabKey? {
    guard storedCount < capacity else { return nil }
    if firstFree == Self.none { grow() }
    let index = firstFree
    let slot = slot(index)
    firstFree = slot.pointee.nextFree
    slot.pointee.element = consume element
    slot.pointee.nextFree = Self.held
    storedCount += 1
    return SlabKey(index: index, generation: slot.pointee.generation)
  }

  /// Where the element lives, or nil where the key is stale. The pointer is good until the element is removed.
  @inlinable public func pointer(_ key: SlabKey) -> UnsafeMutablePointer<Element>? {
    guard Int(key.index) < chunks.count * Self.chunkCapacity else { return nil }
    let slot = slot(key.index)
    guard slot.pointee.generation == key.generation, slot.pointee.nextFree == Self.held else { return nil }
    // An Optional's payload lies at the Optional's address for every layout Swift uses (no offset, tag behind).
    return UnsafeMutableRawPointer(slot).assumingMemoryBound(to: Element.self)
  }

  /// Takes the element out; nil where the key is stale.
  @inlinable public mutating func remove(_ key: SlabKey) -> Element? {
    guard Int(key.index) < chunks.count * Self.chunkCapacity else { return nil }
    let slot = slot(key.index)
    guard slot.pointee.generation == key.generation, slot.pointee.nextFree == Self.held else { return nil }
    let element = slot.pointee.element.take()
    slot.pointee.generation = slot.pointee.generation == .max ? 1 : slot.pointee.generation + 1
    slot.pointee.nextFree = firstFree
    firstFree = key.index
    storedCount -= 1
    return element
  }

  /// The keys of all elements, in slot order. O(slots); for listings and shutdown.
  public var keys: [SlabKey] {
    var keys: [SlabKey] = []
    keys.reserveCapacity(count)
    for index in 0..<UInt32(chunks.count * Self.chunkCapacity) {
      let slot = slot(index)
      if slot.pointee.nextFree == Self.held { keys.append(SlabKey(index: index, generation: slot.pointee.generation)) }
    }
    return keys
  }
}
