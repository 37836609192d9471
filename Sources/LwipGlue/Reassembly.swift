internal import DequeModule
internal import Glibc

/// Puts the fragments of one interface's packets together.
///
/// Theory of operation: lwIP's own reassembly keeps the fragments of all interfaces in one table, so that networks with the
/// same addresses could spoil each other's packets; it takes an IPv6 packet beyond what its buffers can count for a broken
/// invariant, so that a few forged fragments would end the process; and it is bounded in buffers only. So lwIP is given
/// whole packets. As in Linux: a piece that is there already is ignored, any other overlap discards the packet (RFC 5722;
/// ip_frag_queue does the same since 2018), memory is bounded and the oldest packet makes room.
struct Reassembly {
  /// A packet that is complete, from its IP header on.
  struct Packet {
    /// The first fragment's IP header: without IPv6's fragment header, lengths and numbers as of the whole.
    let header: [UInt8]
    let pieces: [[UInt8]]
    let payloadBytes: Int
  }

  /// A packet that was given up although its first fragment had come.
  struct Abandoned {
    let header: [UInt8]
    let firstPiece: [UInt8]
  }

  /// net.ipv4.ipfrag_high_thresh.
  private static let memoryLimit = 4 * 1024 * 1024
  /// What a piece costs beside its bytes.
  private static let pieceOverhead = 64
  /// RFC 8200 section 4.5, RFC 1122 section 3.3.2.
  private static let patienceMilliseconds: UInt64 = 60_000

  private struct Key: Hashable {
    let source: IPAddress
    let destination: IPAddress
    let identification: UInt32
    /// IPv4's protocol; 0 for IPv6, whose identification stands alone.
    let transport: UInt8
  }

  private struct Entry {
    var header: [UInt8]?
    /// In order, and disjoint.
    var pieces: [(offset: Int, bytes: [UInt8])] = []
    var receivedBytes = 0
    /// Known once the last fragment has come.
    var payloadBytes: Int?
    let deadlineMilliseconds: UInt64

    enum Insertion { case taken, ignored, contradictory }

    mutating func insert(_ fragment: Fragment) -> Insertion {
      let (start, end) = (fragment.offset, fragment.offset + fragment.bytes.count)
      let place = place(of: start)
      if place > 0 {
        let before = pieces[place - 1].offset + pieces[place - 1].bytes.count
        if before > start { return before >= end ? .ignored : .contradictory }
      }
      if place < pieces.count, pieces[place].offset < end {
        return pieces[place].offset == start && pieces[place].bytes.count >= end - start ? .ignored : .contradictory
      }
      if let payloadBytes, fragment.isLast ? payloadBytes != end : end > payloadBytes { return .contradictory }
      if fragment.isLast {
        guard place == pieces.count else { return .contradictory }
        payloadBytes = end
      }
      if start == 0 { header = fragment.header }
      pieces.insert((start, Array(fragment.bytes)), at: place)
      receivedBytes += end - start
      return .taken
    }

    /// The first piece that does not begin before `offset`; mostly there is none.
    private func place(of offset: Int) -> Int {
      guard let last = pieces.last, last.offset >= offset else { return pieces.count }
      var (low, high) = (0, pieces.count)
      while low < high {
        let middle = (low + high) / 2
        if pieces[middle].offset < offset { low = middle + 1 } else { high = middle }
      }
      return low
    }
  }

  private struct Fragment {
    let key: Key
    /// What the whole packet begins with, of the first fragment.
    var header: [UInt8]
    let offset: Int
    let isLast: Bool
    let bytes: UnsafeRawBufferPointer
  }

  private var entries: [Key: Entry] = [:]
  /// Oldest first; those that are gone are passed over.
  private var order: Deque<(key: Key, deadlineMilliseconds: UInt64)> = []
  private var heldBytes = 0
  /// Fragments and packets that were dropped: malformed, overlapping, beyond the budget, or never completed.
  private(set) var drops: UInt64 = 0

  var isEmpty: Bool { entries.isEmpty }

  /// Takes a fragment, from its IP header on.
  /// - Returns: the packet that it completes.
  mutating func add(_ packet: UnsafeRawBufferPointer, nowMilliseconds: UInt64) -> Packet? {
    guard let fragment = Self.parse(packet) else {
      drops += 1
      return nil
    }
    let key = fragment.key
    var entry: Entry
    if let known = entries.removeValue(forKey: key) {
      entry = known  // out of the table, so that its array is not copied
    } else {
      let deadline = nowMilliseconds + Self.patienceMilliseconds
      entry = Entry(deadlineMilliseconds: deadline)
      order.append((key, deadline))
    }
    switch entry.insert(fragment) {
    case .ignored: drops += 1
    case .contradictory:
      forget(key, entry)
      drops += 1
      return nil
    case .taken: heldBytes += fragment.bytes.count + Self.pieceOverhead
    }
    if let total = entry.payloadBytes, entry.receivedBytes == total, let header = entry.header {
      forget(key, entry)
      return Packet(header: header, pieces: entry.pieces.map(\.bytes), payloadBytes: total)
    }
    entries[key] = entry
    while heldBytes > Self.memoryLimit, let oldest = takeOldest() {
      forget(oldest.key, oldest.entry)
      drops += 1
    }
    return nil
  }

  /// Gives up packets whose time is over; `body` hears of those whose first fragment had come.
  mutating func expire(nowMilliseconds: UInt64, _ body: (Abandoned) -> Void) {
    while let first = order.first, first.deadlineMilliseconds <= nowMilliseconds {
      guard let entry = entries[first.key], entry.deadlineMilliseconds == first.deadlineMilliseconds else {
        order.removeFirst()
        continue
      }
      entries[first.key] = nil
      forget(first.key, entry)
      drops += 1
      if let header = entry.header { body(Abandoned(header: header, firstPiece: entry.pieces[0].bytes)) }
    }
  }

  /// Takes the packet out that was begun first.
  private mutating func takeOldest() -> (key: Key, entry: Entry)? {
    while let oldest = order.popFirst() {
      guard entries[oldest.key]?.deadlineMilliseconds == oldest.deadlineMilliseconds,
        let entry = entries.removeValue(forKey: oldest.key)
      else { continue }
      return (oldest.key, entry)
    }
    return nil
  }

  /// A packet that is in the table no more: of its memory, and of its place in the order if that is the first.
  private mutating func forget(_ key: Key, _ entry: Entry) {
    heldBytes -= entry.receivedBytes + entry.pieces.count * Self.pieceOverhead
    if let first = order.first, first.key == key { order.removeFirst() }
    guard order.count > 2 * entries.count + 1024 else { return }
    order.removeAll { entries[$0.key]?.deadlineMilliseconds != $0.deadlineMilliseconds }
  }

  // MARK: Headers

  private static func parse(_ packet: UnsafeRawBufferPointer) -> Fragment? {
    guard packet.count >= 20 else { return nil }
    let fragment = packet[0] >> 4 == 6 ? parseV6(packet) : parseV4(packet)
    guard let fragment, !fragment.bytes.isEmpty, fragment.isLast || fragment.bytes.count % 8 == 0 else { return nil }
    // The whole packet: IPv4 counts its header, IPv6 does not.
    let limit = fragment.key.source.isV6 ? 65_535 : 65_535 - fragment.header.count
    return fragment.offset + fragment.bytes.count <= limit ? fragment : nil
  }

  private static func parseV4(_ packet: UnsafeRawBufferPointer) -> Fragment? {
    let base = packet.baseAddress.unsafelyUnwrapped
    func word(_ offset: Int) -> UInt16 {
      UInt16(bigEndian: base.loadUnaligned(fromByteOffset: offset, as: UInt16.self))
    }
    let (headerBytes, length) = (Int(packet[0] & 0xf) * 4, Int(word(2)))
    guard packet[0] >> 4 == 4, headerBytes >= 20, length >= headerBytes, packet.count >= length,
      IPHeader.sum(packet[..<headerBytes]) == 0xffff
    else { return nil }
    var header = Array(packet[..<headerBytes])
    (header[6], header[7]) = (0, 0)
    return Fragment(
      key: Key(
        source: IPAddress(bytes: base + 12, isV6: false), destination: IPAddress(bytes: base + 16, isV6: false),
        identification: UInt32(word(4)), transport: packet[9]),
      header: header, offset: Int(word(6) & 0x1fff) * 8, isLast: word(6) & 0x2000 == 0,
      bytes: UnsafeRawBufferPointer(rebasing: packet[headerBytes..<length]))
  }

  private static func parseV6(_ packet: UnsafeRawBufferPointer) -> Fragment? {
    let base = packet.baseAddress.unsafelyUnwrapped
    func word(_ offset: Int) -> UInt16 {
      UInt16(bigEndian: base.loadUnaligned(fromByteOffset: offset, as: UInt16.self))
    }
    guard packet.count >= 48, packet[6] == IPHeader.fragment else { return nil }
    let length = 40 + Int(word(4))
    guard length >= 48, packet.count >= length else { return nil }
    var header = Array(packet[..<40])
    header[6] = packet[40]
    return Fragment(
      key: Key(
        source: IPAddress(bytes: base + 8, isV6: true), destination: IPAddress(bytes: base + 24, isV6: true),
        identification: UInt32(bigEndian: base.loadUnaligned(fromByteOffset: 44, as: UInt32.self)), transport: 0),
      header: header, offset: Int(word(42) & 0xfff8), isLast: word(42) & 1 == 0,
      bytes: UnsafeRawBufferPointer(rebasing: packet[48..<length]))
  }
}

extension Reassembly.Packet {
  var isV6: Bool { header[0] >> 4 == 6 }
  var packetBytes: Int { header.count + payloadBytes }

  /// The header with the whole packet's length, and IPv4's checksum.
  var finishedHeader: [UInt8] {
    var header = header
    let length = isV6 ? payloadBytes : packetBytes
    let place = isV6 ? 4 : 2
    (header[place], header[place + 1]) = (UInt8(length >> 8), UInt8(length & 0xff))
    guard !isV6 else { return header }
    (header[10], header[11]) = (0, 0)
    let checksum = ~header.withUnsafeBytes { IPHeader.sum($0[...]) }
    withUnsafeBytes(of: checksum) { (header[10], header[11]) = ($0[0], $0[1]) }
    return header
  }
}
