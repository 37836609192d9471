internal import Glibc
internal import TestSupport

/// UDP: the client sends numbered datagrams as fast as it may, the server checks and counts them.
///
/// Layout: 32 bytes of header (`DatagramHeader`), then the pattern's bytes from position `number × bytes` on. After the
/// last one the client asks with `end`, again and again, until the server answers with what it counted.
struct DatagramHeader {
  static let byteCount = 32
  private static let magic: UInt32 = 0x4444_434e  // "NCDD" in memory

  enum Kind: UInt32 {
    case data = 1
    case end = 2
    case report = 3
  }

  var kind: Kind
  /// Chosen anew by each client: a late datagram of an earlier flow is not counted.
  var flow: UInt64
  /// Of data: its number. Of a report: how many came whole.
  var number: UInt64
  /// Of data: the pattern's seed. Of a report: how many had a wrong byte or length.
  var detail: UInt64

  func store(_ bytes: UnsafeMutableRawBufferPointer) {
    bytes.storeBytes(of: DatagramHeader.magic, toByteOffset: 0, as: UInt32.self)
    bytes.storeBytes(of: kind.rawValue, toByteOffset: 4, as: UInt32.self)
    bytes.storeBytes(of: flow, toByteOffset: 8, as: UInt64.self)
    bytes.storeBytes(of: number, toByteOffset: 16, as: UInt64.self)
    bytes.storeBytes(of: detail, toByteOffset: 24, as: UInt64.self)
  }

  init(_ kind: Kind, flow: UInt64, number: UInt64 = 0, detail: UInt64 = 0) {
    self.kind = kind
    self.flow = flow
    self.number = number
    self.detail = detail
  }

  init?(_ bytes: UnsafeRawBufferPointer) {
    guard bytes.count >= DatagramHeader.byteCount,
      bytes.load(fromByteOffset: 0, as: UInt32.self) == DatagramHeader.magic,
      let kind = Kind(rawValue: bytes.load(fromByteOffset: 4, as: UInt32.self))
    else { return nil }
    self.kind = kind
    flow = bytes.load(fromByteOffset: 8, as: UInt64.self)
    number = bytes.load(fromByteOffset: 16, as: UInt64.self)
    detail = bytes.load(fromByteOffset: 24, as: UInt64.self)
  }
}

extension Client {
  public static func datagrams(_ plan: ClientPlan) throws -> ClientResult {
    guard plan.chunkBytes >= DatagramHeader.byteCount, plan.chunkBytes <= 65_507 else {
      throw SupportError("a datagram has \(DatagramHeader.byteCount) to 65507 bytes")
    }
    var result = ClientResult("datagrams")
    let descriptor = try plan.endpoint.datagramSocket(isServer: false)
    defer { close(descriptor) }
    let shared = PatternCache.pattern(seed: plan.seed, windowBytes: plan.chunkBytes)
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: max(64, plan.chunkBytes), alignment: 64)
    defer { buffer.deallocate() }
    var header = DatagramHeader(.data, flow: UInt64(getpid()) << 32 | UInt64(time(nil)), detail: plan.seed)
    let start = Start()
    let end = plan.seconds.map { start.seconds + $0 } ?? .infinity
    let payload = UnsafeMutableRawBufferPointer(rebasing: buffer[DatagramHeader.byteCount..<plan.chunkBytes])
    while result.sentDatagrams < (plan.seconds == nil ? plan.count : .max), monotonicSeconds() < end {
      header.number = UInt64(result.sentDatagrams)
      header.store(buffer)
      payload.copyMemory(
        from: shared.pattern.bytes(at: header.number &* UInt64(plan.chunkBytes), count: payload.count))
      guard send(descriptor, buffer.baseAddress, plan.chunkBytes, 0) == plan.chunkBytes else {
        if errno == ENOBUFS || errno == EAGAIN || errno == EINTR { continue }
        throw SupportError.systemCall("send", "a datagram")
      }
      result.sentDatagrams += 1
    }
    let report = try askForReport(descriptor, flow: header.flow, buffer)
    result.finish(since: start)
    result.arrivedDatagrams = Int(report.number)
    result.bytes = report.number * UInt64(plan.chunkBytes)
    result.gigabitsPerSecond = Double(result.bytes) * 8e-9 / result.seconds
    if report.detail > 0 { result.fail("\(report.detail) datagrams arrived with a wrong byte or length") }
    if result.arrivedDatagrams > result.sentDatagrams { result.fail("more datagrams arrived than were sent") }
    return result
  }

  private static func askForReport(
    _ descriptor: Int32, flow: UInt64, _ buffer: UnsafeMutableRawBufferPointer
  ) throws(SupportError) -> DatagramHeader {
    for _ in 0..<100 {
      DatagramHeader(.end, flow: flow).store(buffer)
      _ = send(descriptor, buffer.baseAddress, DatagramHeader.byteCount, 0)
      var waiting = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
      guard poll(&waiting, 1, 100) > 0 else { continue }
      let count = recv(descriptor, buffer.baseAddress, buffer.count, Int32(MSG_DONTWAIT))
      guard count > 0 else { continue }
      let report = DatagramHeader(UnsafeRawBufferPointer(rebasing: buffer[..<count]))
      if let report, report.kind == .report, report.flow == flow { return report }
    }
    throw SupportError("no report of the datagrams within 10 s")
  }
}

extension Server {
  /// Receives datagrams until the process is ended; one flow at a time.
  static func serveDatagrams(_ descriptor: Int32) {
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 65_536, alignment: 64)
    var flow: UInt64 = 0
    var (whole, wrong): (UInt64, UInt64) = (0, 0)
    var source = sockaddr_storage()
    while true {
      var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
      let count = withUnsafeMutablePointer(to: &source) { pointer in
        pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
          recvfrom(descriptor, buffer.baseAddress, buffer.count, 0, $0, &length)
        }
      }
      guard count >= 0 else {
        if errno == EINTR { continue }
        return
      }
      let bytes = UnsafeRawBufferPointer(rebasing: buffer[..<count])
      guard let header = DatagramHeader(bytes) else { continue }
      if header.flow != flow { (flow, whole, wrong) = (header.flow, 0, 0) }
      switch header.kind {
      case .data:
        let payload = UnsafeRawBufferPointer(rebasing: bytes[DatagramHeader.byteCount...])
        let shared = PatternCache.pattern(seed: header.detail, windowBytes: max(1, count))
        let position = header.number &* UInt64(count)
        if shared.pattern.firstMismatch(payload, at: position) == nil { whole += 1 } else { wrong += 1 }
      case .end:
        DatagramHeader(.report, flow: flow, number: whole, detail: wrong).store(buffer)
        _ = withUnsafePointer(to: source) { pointer in
          pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
            sendto(descriptor, buffer.baseAddress, DatagramHeader.byteCount, 0, $0, length)
          }
        }
      case .report: continue
      }
    }
  }
}
