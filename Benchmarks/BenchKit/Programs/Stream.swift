internal import Glibc
internal import TestSupport

/// CPU time in nanoseconds: of the calling thread, or of the whole process.
func cpuNanoseconds(_ clock: clockid_t) -> UInt64 {
  var time = timespec()
  clock_gettime(clock, &time)
  return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
}

/// Blocking transfers over one connected socket, each byte the pattern's. Plain read(2) and write(2): under
/// interception these are the kernel's own.
struct Stream: ~Copyable {
  let descriptor: Int32
  let chunkBytes: Int
  private let buffer: UnsafeMutableRawBufferPointer

  /// - Parameter chunkBytes: the size of each read and write. The stream owns `descriptor` and closes it.
  init(_ descriptor: Int32, chunkBytes: Int) {
    self.descriptor = descriptor
    self.chunkBytes = chunkBytes
    buffer = .allocate(byteCount: chunkBytes, alignment: 4096)
  }

  deinit {
    buffer.deallocate()
    close(descriptor)
  }

  /// One write(2); EINTR is tried again.
  private func writeSome(_ bytes: UnsafeRawBufferPointer) throws(SupportError) -> Int {
    while true {
      let count = write(descriptor, bytes.baseAddress, bytes.count)
      if count >= 0 { return count }
      if errno != EINTR { throw .systemCall("write", "the connection") }
    }
  }

  /// One read(2) into the buffer: 0 at end of file; EINTR is tried again.
  private func readSome(_ limit: Int) throws(SupportError) -> Int {
    while true {
      let count = read(descriptor, buffer.baseAddress, min(limit, chunkBytes))
      if count >= 0 { return count }
      if errno != EINTR { throw .systemCall("read", "the connection") }
    }
  }

  /// Sends raw bytes, all of them.
  func sendAll(_ bytes: UnsafeRawBufferPointer) throws(SupportError) {
    var done = 0
    while done < bytes.count { done += try writeSome(UnsafeRawBufferPointer(rebasing: bytes[done...])) }
  }

  /// Sends raw bytes, all of them.
  func sendAll(_ bytes: [UInt8]) throws(SupportError) {
    var done = 0
    while done < bytes.count {
      let count = bytes.withUnsafeBytes { write(descriptor, $0.baseAddress.map { $0 + done }, bytes.count - done) }
      if count >= 0 { done += count } else if errno != EINTR { throw .systemCall("write", "the connection") }
    }
  }

  /// Receives as many bytes as `expected` has, at most `chunkBytes`, and tells whether they are the same.
  func receiveAndCompare(_ expected: UnsafeRawBufferPointer) throws(SupportError) -> Bool {
    var done = 0
    while done < expected.count {
      let got = try readSome(expected.count - done)
      guard got > 0 else { throw SupportError("the peer closed after \(done) of \(expected.count) bytes") }
      guard let mine = expected.baseAddress, let theirs = buffer.baseAddress, memcmp(mine + done, theirs, got) == 0
      else {
        return false
      }
      done += got
    }
    return true
  }

  /// Sends back whatever comes, until end of file.
  func echoAll() throws(SupportError) {
    while true {
      let got = try readSome(chunkBytes)
      guard got > 0 else { return }
      try sendAll(UnsafeRawBufferPointer(rebasing: buffer[..<got]))
    }
  }

  /// Receives exactly `count` raw bytes.
  func receiveAll(_ count: Int) throws(SupportError) -> [UInt8] {
    var bytes: [UInt8] = []
    while bytes.count < count {
      let got = try readSome(count - bytes.count)
      guard got > 0 else { throw SupportError("the peer closed after \(bytes.count) of \(count) bytes of its answer") }
      bytes.append(contentsOf: UnsafeRawBufferPointer(rebasing: buffer[..<got]))
    }
    return bytes
  }

  /// Sends the pattern from its start.
  /// - Parameters:
  ///   - limit: how many bytes.
  ///   - deadline: `monotonicSeconds()` after which no further write starts; nil for none.
  ///   - digest: takes what was sent, if given.
  /// - Returns: bytes sent.
  func send(
    _ pattern: borrowing Pattern, limit: UInt64, deadline: Double?, digest: inout StreamDigest?
  ) throws(SupportError) -> UInt64 {
    var sent: UInt64 = 0
    while sent < limit {
      if let deadline, monotonicSeconds() >= deadline { break }
      let wanted = Int(min(limit - sent, UInt64(chunkBytes)))
      let bytes = pattern.bytes(at: sent, count: wanted)
      let count = try writeSome(bytes)
      digest?.update(UnsafeRawBufferPointer(rebasing: bytes[..<count]))
      sent += UInt64(count)
    }
    return sent
  }

  /// Receives and checks until `limit` bytes or end of file.
  func receive(_ pattern: borrowing Pattern, limit: UInt64, wantsDigest: Bool) throws(SupportError) -> Report {
    var report = Report()
    var digest = wantsDigest ? StreamDigest() : nil
    let before = cpuNanoseconds(CLOCK_THREAD_CPUTIME_ID)
    while report.count < limit {
      let count = try readSome(Int(min(limit - report.count, UInt64(chunkBytes))))
      if count == 0 { break }
      let bytes = UnsafeRawBufferPointer(rebasing: buffer[..<count])
      if report.firstMismatch == nil, let index = pattern.firstMismatch(bytes, at: report.count) {
        report.firstMismatch = report.count + UInt64(index)
      }
      digest?.update(bytes)
      report.count += UInt64(count)
    }
    report.digest = digest?.value ?? 0
    report.cpuNanoseconds = cpuNanoseconds(CLOCK_THREAD_CPUTIME_ID) - before
    return report
  }

  /// Sends and receives `count` bytes at the same time, by poll(2) on a non-blocking descriptor.
  func duplex(_ pattern: borrowing Pattern, count: UInt64, wantsDigest: Bool) throws(SupportError) -> Report {
    let flags = fcntl(descriptor, F_GETFL)
    _ = fcntl(descriptor, F_SETFL, flags | O_NONBLOCK)
    defer { _ = fcntl(descriptor, F_SETFL, flags) }
    var report = Report()
    var digest = wantsDigest ? StreamDigest() : nil
    var sent: UInt64 = 0
    while sent < count || report.count < count {
      var waiting = pollfd(fd: descriptor, events: 0, revents: 0)
      if sent < count { waiting.events |= Int16(POLLOUT) }
      if report.count < count { waiting.events |= Int16(POLLIN) }
      if poll(&waiting, 1, -1) < 0 && errno != EINTR { throw .systemCall("poll", "the connection") }
      if sent < count {
        let bytes = pattern.bytes(at: sent, count: Int(min(count - sent, UInt64(chunkBytes))))
        let written = write(descriptor, bytes.baseAddress, bytes.count)
        if written > 0 { sent += UInt64(written) } else if errno != EAGAIN { throw .systemCall("write", "duplex") }
      }
      if report.count < count {
        let got = read(descriptor, buffer.baseAddress, Int(min(count - report.count, UInt64(chunkBytes))))
        if got == 0 { break }
        if got < 0 && errno != EAGAIN { throw .systemCall("read", "duplex") }
        guard got > 0 else { continue }
        let bytes = UnsafeRawBufferPointer(rebasing: buffer[..<got])
        if report.firstMismatch == nil, let index = pattern.firstMismatch(bytes, at: report.count) {
          report.firstMismatch = report.count + UInt64(index)
        }
        digest?.update(bytes)
        report.count += UInt64(got)
      }
    }
    report.digest = digest?.value ?? 0
    return report
  }

  /// Says that nothing more will be sent (shutdown(2), SHUT_WR).
  func finishSending() throws(SupportError) {
    guard shutdown(descriptor, Int32(SHUT_WR)) == 0 else { throw .systemCall("shutdown", "the connection") }
  }

  /// Waits for the peer's end of file.
  /// - Throws: `SupportError` when bytes come instead.
  func expectEnd() throws(SupportError) {
    let count = try readSome(chunkBytes)
    guard count == 0 else { throw SupportError("\(count) bytes after the end of the stream") }
  }
}
