import Slab
import Testing

/// Counts the ends of its elements.
private final class Morgue {
  var deaths: [Int] = []
}

/// An element that tells when it is destroyed.
private struct Mortal: ~Copyable {
  let number: Int
  let morgue: Morgue
  deinit { morgue.deaths.append(number) }
}

/// A slab behind a reference: the macros of Swift Testing cannot take an expression on a noncopyable value apart.
private final class Shelf<Element: ~Copyable> {
  private var slab: Slab<Element>
  init(capacity: Int) { slab = Slab(capacity: capacity) }
  var count: Int { slab.count }
  var keys: [SlabKey] { slab.keys }
  func insert(_ element: consuming Element) -> SlabKey? { slab.insert(element) }
  func pointer(_ key: SlabKey) -> UnsafeMutablePointer<Element>? { slab.pointer(key) }
  func remove(_ key: SlabKey) -> Element? { slab.remove(key) }
}

@Suite struct SlabTests {
  @Test func `an element is found by its key and stays where it is`() throws {
    let slab = Shelf<Int>(capacity: 1000)
    let key = try #require(slab.insert(7))
    let address = try #require(slab.pointer(key))
    for number in 0..<900 { _ = slab.insert(number) }
    #expect(slab.pointer(key) == address)
    #expect(address.pointee == 7)
    address.pointee = 8
    #expect(slab.remove(key) == 8)
  }

  @Test func `a slot is reused last in, first out, under a new generation`() throws {
    let slab = Shelf<String>(capacity: 10)
    let first = try #require(slab.insert("first"))
    let second = try #require(slab.insert("second"))
    _ = slab.remove(first)
    _ = slab.remove(second)
    let third = try #require(slab.insert("third"))
    let fourth = try #require(slab.insert("fourth"))
    #expect(third.index == second.index)
    #expect(third.generation != second.generation)
    #expect(fourth.index == first.index)
    #expect(slab.pointer(third)?.pointee == "third")
  }

  @Test func `a stale key finds nothing and removes nothing`() throws {
    let slab = Shelf<Int>(capacity: 10)
    let stale = try #require(slab.insert(1))
    #expect(slab.remove(stale) == 1)
    #expect(slab.pointer(stale) == nil)
    #expect(slab.remove(stale) == nil)
    let fresh = try #require(slab.insert(2))
    #expect(fresh.index == stale.index)
    #expect(slab.pointer(stale) == nil)
    #expect(slab.remove(stale) == nil)
    #expect(slab.count == 1)
    #expect(slab.pointer(fresh)?.pointee == 2)
  }

  @Test func `a key of no slot at all finds nothing`() {
    let slab = Shelf<Int>(capacity: 10)
    #expect(slab.pointer(SlabKey(index: 0, generation: 1)) == nil)
    #expect(slab.remove(SlabKey(index: 4_000_000_000, generation: 1)) == nil)
    _ = slab.insert(1)
    #expect(slab.pointer(SlabKey(index: 5, generation: 1)) == nil)
    #expect(slab.pointer(SlabKey(bits: 0)) == nil)
  }

  @Test func `the capacity bounds the elements, and a removal makes room again`() throws {
    let slab = Shelf<Int>(capacity: 3)
    let keys = (0..<3).compactMap { slab.insert($0) }
    #expect(keys.count == 3)
    #expect(slab.insert(3) == nil)
    #expect(slab.count == 3)
    _ = slab.remove(keys[1])
    let key = try #require(slab.insert(4))
    #expect(slab.pointer(key)?.pointee == 4)
    #expect(slab.insert(5) == nil)
  }

  @Test func `growth beyond a chunk keeps all elements, and lists them in slot order`() {
    let slab = Shelf<Int>(capacity: 5000)
    let keys = (0..<2000).compactMap { slab.insert($0) }
    #expect(Set(keys).count == 2000)
    for (number, key) in keys.enumerated() where slab.pointer(key)?.pointee != number {
      Issue.record("element \(number) is lost")
    }
    for key in keys where key.index % 3 == 0 { _ = slab.remove(key) }
    #expect(slab.keys == keys.filter { $0.index % 3 != 0 }.sorted { $0.index < $1.index })
    #expect(slab.count == slab.keys.count)
  }

  @Test func `a generation is never 0 and wraps around`() throws {
    let slab = Shelf<Int>(capacity: 1)
    var generations: Set<UInt16> = []
    let first = try #require(slab.insert(0))
    _ = slab.remove(first)
    for number in 0..<65_534 {
      let key = try #require(slab.insert(number))
      generations.insert(key.generation)
      _ = slab.remove(key)
    }
    #expect(!generations.contains(0))
    #expect(!generations.contains(first.generation))
    #expect(slab.insert(0) == first)  // 65,535 reuses later: the documented limit of the check
  }

  @Test func `a key survives the way through 48 bits`() {
    for key in [
      SlabKey(index: 0, generation: 1), SlabKey(index: .max, generation: .max), SlabKey(index: 77, generation: 40_000),
    ] {
      #expect(SlabKey(bits: key.bits) == key)
      #expect(key.bits >> 48 == 0)
    }
  }

  @Test func `noncopyable elements are destroyed exactly once`() throws {
    let morgue = Morgue()
    do {
      let slab = Shelf<Mortal>(capacity: 4)
      let insertion = slab.insert(Mortal(number: 1, morgue: morgue))
      let first = try #require(insertion)
      _ = slab.insert(Mortal(number: 2, morgue: morgue))
      _ = slab.insert(Mortal(number: 3, morgue: morgue))
      #expect(morgue.deaths == [])
      _ = slab.remove(first)
      #expect(morgue.deaths == [1])
      _ = slab.remove(first)
      #expect(morgue.deaths == [1])
      _ = slab.insert(Mortal(number: 4, morgue: morgue))
      _ = slab.insert(Mortal(number: 5, morgue: morgue))
      let refused = slab.insert(Mortal(number: 6, morgue: morgue))
      #expect(refused == nil)
      #expect(morgue.deaths == [1, 6])
    }
    #expect(morgue.deaths.sorted() == [1, 2, 3, 4, 5, 6])
  }

  @Test func `a removed element lives on with who took it`() throws {
    let morgue = Morgue()
    let slab = Shelf<Mortal>(capacity: 4)
    let insertion = slab.insert(Mortal(number: 9, morgue: morgue))
    let key = try #require(insertion)
    do {
      let taken = slab.remove(key)
      #expect(morgue.deaths == [])
      let number =
        switch taken {
        case .some(let mortal): mortal.number
        case .none: 0
        }
      #expect(number == 9)
    }
    #expect(morgue.deaths == [9])
  }

  /// A seeded script of insertions and removals against a dictionary.
  @Test(arguments: [1, 2, 3] as [UInt64]) func `agrees with a dictionary`(seed: UInt64) {
    var state = seed
    func random(_ bound: Int) -> Int {
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      return Int(state >> 33) % bound
    }
    let slab = Shelf<Int>(capacity: 700)
    var model: [SlabKey: Int] = [:]
    var dead: [SlabKey] = []
    for step in 0..<20_000 {
      if random(100) < 52 {
        guard let key = slab.insert(step) else {
          #expect(model.count == 700)
          continue
        }
        #expect(model.updateValue(step, forKey: key) == nil)
      } else if let key = slab.keys.isEmpty ? nil : model.keys.min(by: { $0.bits < $1.bits }) {
        #expect(slab.remove(key) == model.removeValue(forKey: key))
        dead.append(key)
      }
      if let key = dead.last, model[key] == nil { #expect(slab.pointer(key) == nil) }
    }
    #expect(Set(slab.keys) == Set(model.keys))
  }
}
