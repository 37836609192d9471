internal import CLwip

/// What names a connection within one interface.
struct FourTuple {
  let interfaceIndex: UInt8
  let local: Endpoint
  let remote: Endpoint
}

/// A hash table of lwIP's TCP control blocks by four-tuple, chained through lwIP's own `next`: for blocks that are on none of
/// lwIP's lists. It owns no block.
struct ControlBlockBuckets: ~Copyable {
  private static let leastBuckets = 1024

  private var buckets: UnsafeMutableBufferPointer<ControlBlock?>
  /// Random (getrandom(2)), and not 0.
  private let secret: (UInt64, UInt64) = (.random(in: .min ... .max) | 1, .random(in: .min ... .max) | 1)
  private(set) var count = 0

  init() {
    buckets = .allocate(capacity: Self.leastBuckets)
    buckets.initialize(repeating: nil)
  }

  deinit { buckets.deallocate() }

  func find(_ tuple: FourTuple) -> ControlBlock? { buckets[index(tuple)].flatMap { $0.search(tuple) } }

  /// All blocks, in no order: linear in their number.
  func contains(where condition: (ControlBlock) -> Bool) -> Bool {
    count > 0 && buckets.contains { $0?.contains(where: condition) ?? false }
  }

  mutating func insert(_ block: ControlBlock) {
    if count >= buckets.count { grow() }
    push(block)
    count += 1
  }

  /// Takes a block out of its bucket; false where it is in none.
  mutating func remove(_ block: ControlBlock) -> Bool {
    let index = index(block.tuple)
    var previous: ControlBlock?
    var next = buckets[index]
    while let current = next {
      if current == block {
        if let previous { previous.pointee.next = block.pointee.next } else { buckets[index] = block.pointee.next }
        block.pointee.next = nil
        count -= 1
        return true
      }
      previous = current
      next = current.pointee.next
    }
    return false
  }

  /// Takes all blocks out; `body` may free the one that it is given.
  mutating func removeAll(_ body: (ControlBlock) -> Void) {
    for index in buckets.indices {
      while let block = buckets[index] {
        buckets[index] = block.pointee.next
        block.pointee.next = nil
        body(block)
      }
    }
    count = 0
  }

  private func push(_ block: ControlBlock) {
    let index = index(block.tuple)
    block.pointee.next = buckets[index]
    buckets[index] = block
  }

  private mutating func grow() {
    let old = buckets
    buckets = .allocate(capacity: old.count * 2)
    buckets.initialize(repeating: nil)
    for first in old {
      var next = first
      while let block = next {
        next = block.pointee.next
        push(block)
      }
    }
    old.deallocate()
  }

  /// Products of secret-keyed halves, folded: a peer that chooses addresses and ports cannot choose buckets.
  private func index(_ tuple: FourTuple) -> Int {
    func mix(_ a: UInt64, _ b: UInt64) -> UInt64 {
      let product = a.multipliedFullWidth(by: b)
      return product.high ^ product.low
    }
    let ports = UInt64(tuple.local.port) << 32 | UInt64(tuple.remote.port) << 8 | UInt64(tuple.interfaceIndex)
    var hash = mix(tuple.remote.address.high ^ secret.0, ports ^ secret.1)
    hash = mix(hash ^ tuple.local.address.high, tuple.remote.address.low ^ secret.1)
    hash = mix(hash ^ tuple.local.address.low, secret.0)
    return Int(truncatingIfNeeded: hash) & (buckets.count - 1)
  }
}

extension ControlBlock {
  var tuple: FourTuple {
    FourTuple(
      interfaceIndex: pointee.netif_idx,
      local: Endpoint(address: IPAddress(&pointee.local_ip), port: pointee.local_port),
      remote: Endpoint(address: IPAddress(&pointee.remote_ip), port: pointee.remote_port))
  }

  func isBetween(_ tuple: FourTuple) -> Bool {
    pointee.remote_port == tuple.remote.port && pointee.local_port == tuple.local.port
      && pointee.netif_idx == tuple.interfaceIndex && IPAddress(&pointee.remote_ip) == tuple.remote.address
      && IPAddress(&pointee.local_ip) == tuple.local.address
  }

  /// The block of a connection, among this one and those behind it.
  func search(_ tuple: FourTuple) -> ControlBlock? {
    var next: ControlBlock? = self
    while let block = next {
      if block.isBetween(tuple) { return block }
      next = block.pointee.next
    }
    return nil
  }

  /// Visits this one and those behind it; `condition` may end the one that it is given, and no other.
  func contains(where condition: (ControlBlock) -> Bool) -> Bool {
    var next: ControlBlock? = self
    while let block = next {
      next = block.pointee.next
      if condition(block) { return true }
    }
    return false
  }
}
