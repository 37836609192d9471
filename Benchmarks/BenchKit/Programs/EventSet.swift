internal import CEpoll
internal import Glibc
internal import TestSupport

/// An epoll(7) instance whose events carry the descriptor's number.
struct EventSet: ~Copyable {
  private let descriptor: Int32
  private let events: UnsafeMutableBufferPointer<epoll_event>

  init() throws(SupportError) {
    descriptor = epoll_create1(Int32(EPOLL_CLOEXEC))
    guard descriptor >= 0 else { throw .systemCall("epoll_create1", "the benchmark's descriptors") }
    events = .allocate(capacity: 256)
  }

  deinit {
    events.deallocate()
    close(descriptor)
  }

  /// Starts to watch, level-triggered.
  func add(_ watched: Int32, _ interest: EPOLL_EVENTS) throws(SupportError) {
    try control(EPOLL_CTL_ADD, watched, interest)
  }

  /// Watches for something else. A descriptor that is closed leaves by itself.
  func change(_ watched: Int32, _ interest: EPOLL_EVENTS) throws(SupportError) {
    try control(EPOLL_CTL_MOD, watched, interest)
  }

  /// Stops to watch: the descriptor goes to someone else.
  func remove(_ watched: Int32) { epoll_ctl(descriptor, EPOLL_CTL_DEL, watched, nil) }

  private func control(_ operation: Int32, _ watched: Int32, _ interest: EPOLL_EVENTS) throws(SupportError) {
    var event = epoll_event(events: interest.rawValue, data: epoll_data_t(fd: watched))
    guard epoll_ctl(descriptor, operation, watched, &event) == 0 else {
      throw .systemCall("epoll_ctl", "descriptor \(watched)")
    }
  }

  /// Waits for events and runs `body` for each ready descriptor.
  /// - Parameter milliseconds: the bound; -1 for none.
  /// - Returns: how many were ready.
  func wait(milliseconds: Int32 = -1, _ body: (Int32) throws(SupportError) -> Void) throws(SupportError) -> Int {
    let count = epoll_wait(descriptor, events.baseAddress, Int32(events.count), milliseconds)
    guard count >= 0 else {
      if errno == EINTR { return 0 }
      throw .systemCall("epoll_wait", "the benchmark's descriptors")
    }
    for index in 0..<Int(count) { try body(events[index].data.fd) }
    return Int(count)
  }
}
