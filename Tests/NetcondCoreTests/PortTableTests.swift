import Glibc
import LwipGlue
@testable import NetcondCore
import Slab
import Testing

/// One socket of a conflict's script.
struct Claim: Sendable, CustomTestStringConvertible {
  let address: String
  var v6Only = false
  var reuse = false
  var listens = false

  var isV6: Bool { address.contains(":") }
  var testDescription: String {
    ([address] + (v6Only ? ["v6only"] : []) + (reuse ? ["reuse"] : []) + (listens ? ["listens"] : [])).joined(
      separator: " ")
  }

  static let all: [Claim] = ["0.0.0.0", "127.0.0.1", "127.0.0.2", "::", "::1"].flatMap { address in
    [false, true].flatMap { v6Only in
      [false, true].flatMap { reuse in
        [false, true].map { Claim(address: address, v6Only: v6Only, reuse: reuse, listens: $0) }
      }
    }
  }.filter { $0.isV6 || !$0.v6Only }
}

private let v6IsHere = KernelSocket(Claim(address: "::1"), port: 0).code == 0

/// A TCP socket of the kernel's, closed with its owner.
private final class KernelSocket {
  private let fd: Int32
  /// What bind, or listen after it, said.
  private(set) var code: Int32 = 0

  init(_ claim: Claim, port: UInt16) {
    fd = socket(claim.isV6 ? AF_INET6 : AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
    var flag: Int32 = claim.reuse ? 1 : 0
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &flag, 4)
    flag = claim.v6Only ? 1 : 0
    if claim.isV6 { setsockopt(fd, Int32(IPPROTO_IPV6), 26, &flag, 4) }
    code = bind(claim, port) == 0 ? 0 : errno
    if code == 0, claim.listens, listen(fd, 5) != 0 { code = errno }
  }
  deinit { close(fd) }

  func get() throws -> KernelSocket {
    if code != 0 { throw StackError(code) }
    return self
  }

  private func bind(_ claim: Claim, _ port: UInt16) -> Int32 {
    var storage = [UInt8](repeating: 0, count: 28)
    storage.withUnsafeMutableBytes {
      $0.storeBytes(of: UInt16(claim.isV6 ? AF_INET6 : AF_INET), as: UInt16.self)
      $0.storeBytes(of: port.bigEndian, toByteOffset: 2, as: UInt16.self)
      inet_pton(claim.isV6 ? AF_INET6 : AF_INET, claim.address, $0.baseAddress! + (claim.isV6 ? 8 : 4))
    }
    return storage.withUnsafeBytes {
      Glibc.bind(fd, $0.baseAddress!.assumingMemoryBound(to: sockaddr.self), claim.isV6 ? 28 : 16)
    }
  }

  var port: UInt16 {
    var storage = [UInt8](repeating: 0, count: 28)
    var size = socklen_t(28)
    _ = storage.withUnsafeMutableBytes {
      getsockname(fd, $0.baseAddress!.assumingMemoryBound(to: sockaddr.self), &size)
    }
    return UInt16(storage[2]) << 8 | UInt16(storage[3])
  }
}

@Suite struct PortTableTests {
  private static func binding(_ claim: Claim, _ number: UInt32) -> PortTable.Binding {
    PortTable.Binding(
      socket: SlabKey(index: number, generation: 1), address: IPAddress(claim.address)!,
      isDual: claim.address == "::" && !claim.v6Only, reuseAddress: claim.reuse)
  }

  /// 0 or EADDRINUSE, as the kernel would say.
  private static func claim(_ claim: Claim, _ number: UInt32, _ table: inout PortTable) -> Int32 {
    guard table.bind(binding(claim, number), port: 80) else { return EADDRINUSE }
    if claim.listens, !table.listen(SlabKey(index: number, generation: 1), port: 80) { return EADDRINUSE }
    return 0
  }

  @Test(.enabled(if: v6IsHere, "the kernel here has no IPv6"), arguments: Claim.all)
  func `a second socket may have the port where the kernel lets it`(first: Claim) throws {
    var differences: [String] = []
    for second in Claim.all {
      var table = PortTable()
      #expect(Self.claim(first, 1, &table) == 0)
      let own = Self.claim(second, 2, &table)
      var kernel: Int32 = -1
      // Another program may hold the port at another address: then the kernel refuses for that reason, and a new port is tried.
      for _ in 1...3 where kernel != own {
        let holder = try KernelSocket(first, port: 0).get()
        kernel = KernelSocket(second, port: holder.port).code
      }
      if kernel != own { differences.append("\(second.testDescription): \(own); kernel: \(kernel)") }
    }
    #expect(differences == [])
  }

  @Test func `a released port is free`() {
    var table = PortTable()
    let claim = Claim(address: "0.0.0.0", listens: true)
    #expect(Self.claim(claim, 1, &table) == 0)
    #expect(Self.claim(claim, 2, &table) == EADDRINUSE)
    #expect(table.isUsed(80))
    table.release(SlabKey(index: 1, generation: 1), port: 80)
    #expect(!table.isUsed(80))
    #expect(Self.claim(claim, 2, &table) == 0)
  }

  @Test func `releasing one of two sockets keeps the other's`() {
    var table = PortTable()
    let claim = Claim(address: "0.0.0.0", reuse: true)
    #expect(Self.claim(claim, 1, &table) == 0)
    #expect(Self.claim(claim, 2, &table) == 0)
    table.release(SlabKey(index: 1, generation: 1), port: 80)
    #expect(table.isUsed(80))
    #expect(Self.claim(Claim(address: "0.0.0.0"), 3, &table) == EADDRINUSE)
  }

  @Test func `of two that share a port only one may listen`() {
    var table = PortTable()
    let claim = Claim(address: "0.0.0.0", reuse: true)
    for number in 1...2 as ClosedRange<UInt32> { #expect(Self.claim(claim, number, &table) == 0) }
    let first = table.listen(SlabKey(index: 1, generation: 1), port: 80)
    let second = table.listen(SlabKey(index: 2, generation: 1), port: 80)
    #expect(first)
    #expect(!second)
  }

  @Test func `a socket that has no port cannot listen`() {
    var table = PortTable()
    let isListening = table.listen(SlabKey(index: 1, generation: 1), port: 80)
    #expect(!isListening)
  }

  @Test func `ephemeral ports are Linux's, each once, until there are none`() {
    var table = PortTable()
    var ports: Set<UInt16> = []
    let binding = Self.binding(Claim(address: "0.0.0.0"), 1)
    for _ in 0..<2000 {
      guard let port = table.bindEphemeral(binding) else { break }
      ports.insert(port)
    }
    #expect(ports.count == 2000)
    #expect(ports.allSatisfy { (32_768...60_999).contains($0) })
    #expect(ports.map { Int($0) }.max()! - ports.map { Int($0) }.min()! > 10_000)
    for port in 32_768...60_999 as ClosedRange<UInt16> where !ports.contains(port) {
      _ = table.bind(binding, port: port)
    }
    #expect(table.bindEphemeral(binding) == nil)
  }

  @Test func `a port where connections linger is left alone while another is easily found`() {
    let binding = Self.binding(Claim(address: "0.0.0.0"), 1)
    for _ in 0..<500 {
      var table = PortTable()
      let port = table.bindEphemeral(binding) { $0 % 8 != 0 }
      #expect(port.map { $0 % 8 } == 0)
    }
    var table = PortTable()
    #expect(table.bindEphemeral(binding) { _ in true } != nil)
  }
}
