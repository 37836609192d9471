import Glibc
@testable import NetcondCore
import NetcondRPC
import Testing

@Suite("shared send memory, the daemon's side") struct ArenaTableTests {
  /// A library's view of an arena.
  private struct Client {
    let memory: UnsafeMutablePointer<nc_arena>

    init(_ table: ArenaTable, _ index: Int) throws {
      let mapped = mmap(
        nil, Int(NC_ARENA_BYTES), PROT_READ | PROT_WRITE, MAP_SHARED, table.descriptor(of: index), 0)
      memory = try #require(mapped == MAP_FAILED ? nil : mapped).assumingMemoryBound(to: nc_arena.self)
    }

    func write(_ text: String) -> UInt8? {
      let block = nc_arena_take(memory)
      guard block >= 0 else { return nil }
      for (index, byte) in text.utf8.enumerated() {
        nc_arena_block(memory, UInt32(block))[index] = CChar(bitPattern: byte)
      }
      nc_arena_announce(memory, UInt32(block), UInt32(text.utf8.count))
      return UInt8(block)
    }

    func unmap() { munmap(memory, Int(NC_ARENA_BYTES)) }
  }

  private func text(_ bytes: (address: UnsafeRawPointer, count: Int)?) -> String? {
    bytes.map { String(decoding: UnsafeRawBufferPointer(start: $0.address, count: $0.count), as: UTF8.self) }
  }

  @Test("a block is in use from its taking to its last reference, and is then taken first again")
  func block() throws {
    let table = try #require(ArenaTable())
    let index = try #require(table.make(wideBytes: 1234, mayKeep: { _ in true }))
    let client = try Client(table, index)
    defer { client.unmap() }
    #expect(client.memory.pointee.wide_bytes == 1234)
    let block = try #require(client.write("hello"))
    #expect(table.queuedBytes(of: index) == 5)
    let bytes = try #require(table.take(index, block: block, now: 1))
    #expect(text(bytes) == "hello")
    #expect(table.queuedBytes(of: index) == 0)
    #expect(table.contains(bytes.address))
    table.retain(holding: bytes.address + 4)
    table.release(holding: bytes.address)
    #expect(client.write("other") == block + 1)
    table.release(holding: bytes.address + 3)
    #expect(client.write("again") == block)
  }

  @Test("all blocks, then none")
  func exhausted() throws {
    let table = try #require(ArenaTable())
    let index = try #require(table.make(wideBytes: 0, mayKeep: { _ in true }))
    let client = try Client(table, index)
    defer { client.unmap() }
    let blocks = (0..<Int(NC_ARENA_BLOCKS)).map { client.write("\($0)") }
    #expect(blocks == (0..<UInt8(NC_ARENA_BLOCKS)).map { $0 })
    #expect(client.write("x") == nil)
    for block in blocks.compactMap({ $0 }) { #expect(text(table.take(index, block: block, now: 1)) == "\(block)") }
  }

  @Test("what is still to be sent outlives the connection; then the place is another's, and empty")
  func disowned() throws {
    let table = try #require(ArenaTable())
    let index = try #require(table.make(wideBytes: 0, mayKeep: { _ in true }))
    let client = try Client(table, index)
    defer { client.unmap() }
    let bytes = try #require(table.take(index, block: client.write("late")!, now: 1))
    table.disown(index)
    #expect(text(bytes) == "late")
    table.release(holding: bytes.address)
    #expect(nc_arena_block(client.memory, 0).pointee == 0, "its pages have gone")
    let next = try #require(table.make(wideBytes: 0, mayKeep: { _ in true }))
    #expect(next == index)
    #expect(try Client(table, next).write("y") == 0)
  }

  @Test("pages go after two seconds without use, but not those in use")
  func trimmed() throws {
    let table = try #require(ArenaTable())
    let index = try #require(table.make(wideBytes: 0, mayKeep: { _ in true }))
    let client = try Client(table, index)
    defer { client.unmap() }
    let held = try #require(table.take(index, block: client.write("held")!, now: 1))
    let idle = try #require(table.take(index, block: client.write("idle")!, now: 1))
    let unread = try #require(client.write("unread"))
    table.release(holding: idle.address)
    let deadline = try #require(table.deadline)
    table.trim(now: deadline - 1)
    #expect(nc_arena_block(client.memory, 1).pointee != 0)
    table.trim(now: deadline)
    #expect(nc_arena_block(client.memory, 1).pointee == 0)
    #expect(text(held) == "held")
    #expect(table.deadline == nil)
    #expect(text(table.take(index, block: unread, now: deadline)) == "unread")
    #expect(client.write("new") == 1)
  }

  @Test("there is a limit, and a descriptor that may not be kept is closed")
  func limits() throws {
    let table = try #require(ArenaTable())
    #expect(table.make(wideBytes: 0, mayKeep: { _ in false }) == nil)
    let made = (0..<ArenaTable.limit).map { _ in table.make(wideBytes: 0, mayKeep: { _ in true }) }
    #expect(made == (0..<ArenaTable.limit).map { $0 })
    #expect(table.make(wideBytes: 0, mayKeep: { _ in true }) == nil)
    table.disown(7)
    #expect(table.make(wideBytes: 0, mayKeep: { _ in true }) == 7)
  }

  @Test("a block named twice, as only a spoilt library would, is given back once")
  func namedTwice() throws {
    let table = try #require(ArenaTable())
    let index = try #require(table.make(wideBytes: 0, mayKeep: { _ in true }))
    let client = try Client(table, index)
    defer { client.unmap() }
    let block = try #require(client.write("twice"))
    let (first, second) = (table.take(index, block: block, now: 1), table.take(index, block: block, now: 1))
    #expect(text(first) == "twice")
    table.release(holding: try #require(first).address)
    #expect(client.write("other") != block)
    table.release(holding: try #require(second).address)
    #expect(client.write("third") == block)
  }
}
