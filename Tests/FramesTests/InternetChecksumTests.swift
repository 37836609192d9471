import Frames
import Testing

@Suite struct InternetChecksumTests {
  private func sum(_ bytes: [UInt8], after former: UInt16 = 0) -> UInt16 {
    bytes.withUnsafeBytes { InternetChecksum.sum($0, after: former) }
  }

  @Test func `the example of RFC 1071 section 3`() {
    #expect(sum([0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]) == 0xddf2)
  }

  @Test func `a header with its checksum in it sums up to all ones`() {
    // The usual example of an IPv4 header's checksum, 0xb861.
    let header: [UInt8] = [
      0x45, 0, 0, 0x73, 0, 0, 0x40, 0, 0x40, 0x11, 0xb8, 0x61, 0xc0, 0xa8, 0, 1, 0xc0, 0xa8, 0, 0xc7,
    ]
    #expect(sum(header) == 0xffff)
  }

  @Test(arguments: 0..<70) func `any length, and any cut at an even place`(count: Int) {
    let bytes = (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 197 &+ 250) }
    var naive = 0
    for (index, byte) in bytes.enumerated() {
      naive += Int(byte) << (index % 2 == 0 ? 8 : 0)
      if naive > 0xffff { naive -= 0xffff }
    }
    #expect(sum(bytes) == UInt16(naive))
    let half = count / 4 * 2
    #expect(sum(Array(bytes[half...]), after: sum(Array(bytes[..<half]))) == UInt16(naive))
  }

  @Test func `the pseudo-header is the addresses, the protocol and the length`() {
    let v4: [UInt8] = Array(repeating: 0xaa, count: 12) + [10, 0, 0, 1, 10, 0, 0, 2]
    let v6: [UInt8] = Array(repeating: 0xaa, count: 8) + (0..<32).map { UInt8($0) }
    let sums = (
      v4.withUnsafeBytes { InternetChecksum.pseudoHeader($0.baseAddress!, isV6: false, transport: 6, bytes: 40) },
      v6.withUnsafeBytes { InternetChecksum.pseudoHeader($0.baseAddress!, isV6: true, transport: 58, bytes: 40) }
    )
    #expect(sums.0 == sum([10, 0, 0, 1, 10, 0, 0, 2, 0, 6, 0, 40]))
    #expect(sums.1 == sum((0..<32).map { UInt8($0) } + [0, 58, 0, 40]))
  }
}
