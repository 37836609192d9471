public import CUring

/// One io_uring: operations are prepared, submitted together, and their completions taken together.
///
/// Theory of operation: `prepare…` calls fill submission entries; nothing reaches the kernel until `submit…`, which the
/// program's loop calls once per turn, so that a turn costs one system call whatever it did. Should the submission
/// queue fill up within a turn, it is flushed and goes on. All calls are from one thread (IORING_SETUP_SINGLE_ISSUER).
/// Memory named in a prepared operation must stay valid until its completion.
public final class Ring {
  private let ring: UnsafeMutablePointer<io_uring>
  private let completions: UnsafeMutablePointer<io_uring_cqe>
  private static let completionBatch: UInt32 = 256
  public let capabilities: Capabilities
  /// Completions taken in the middle of a submission.
  private var early: [Completion] = []
  /// When the timer that stands in the ring is due (CLOCK_MONOTONIC); nil where none does.
  private var timerDeadline: UInt64?
  private let timerTime: UnsafeMutablePointer<__kernel_timespec>
  /// The ring's own completions; a program's tokens have no kind 255.
  private static let timerToken = Token(rawValue: .max), timerUpdateToken = Token(rawValue: .max - 1)
  /// How many times `submit…` entered the kernel.
  public private(set) var enterCount: UInt64 = 0
  /// How many completions were taken.
  public private(set) var completionCount: UInt64 = 0

  /// Sets up a ring.
  /// - Parameters:
  ///   - entries: submission queue entries, a power of two; the completion queue has eight times as many.
  ///   - limit: see `Capabilities.Limit`.
  /// - Throws: `RingError`, with the likely cause and its cure.
  public init(entries: UInt32 = 1024, limit: Capabilities.Limit = .newest) throws(RingError) {
    ring = .allocate(capacity: 1)
    ring.initialize(to: io_uring())
    completions = .allocate(capacity: Int(Self.completionBatch))
    timerTime = .allocate(capacity: 1)
    timerTime.initialize(to: __kernel_timespec())
    var capabilities = Capabilities()
    var parameters = io_uring_params()
    parameters.cq_entries = entries * 8
    parameters.flags = UInt32(IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP)
    let deferred = UInt32(IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN)
    var attempt = parameters
    attempt.flags |= deferred | UInt32(NC_IORING_SETUP_TASKRUN_FLAG)
    var status = io_uring_queue_init_params(entries, ring, &attempt)
    if status == 0 {
      capabilities.deferTaskrun = true
      capabilities.leastWait = limit == .newest && attempt.features & UInt32(NC_IORING_FEAT_MIN_TIMEOUT) != 0
    } else if status == -EINVAL {
      status = io_uring_queue_init_params(entries, ring, &parameters)
    }
    if status != 0 {
      ring.deallocate()
      completions.deallocate()
      timerTime.deallocate()
      throw RingError("io_uring cannot be set up", code: -status)
    }
    if limit == .newest, let probe = io_uring_get_probe_ring(ring) {
      capabilities.readMultishot = io_uring_opcode_supported(probe, Int32(NC_IORING_OP_READ_MULTISHOT)) != 0
      io_uring_free_probe(probe)
    }
    self.capabilities = capabilities
  }

  deinit {
    io_uring_queue_exit(ring)
    ring.deallocate()
    completions.deallocate()
    timerTime.deallocate()
  }

  var raw: UnsafeMutablePointer<io_uring> { ring }

  private func entry(_ token: Token) -> UnsafeMutablePointer<io_uring_sqe> {
    var sqe = io_uring_get_sqe(ring)
    while sqe == nil {  // the queue is full: hand it over and go on
      if submit() < 0 { takeEarly() }
      sqe = io_uring_get_sqe(ring)
    }
    return sqe.unsafelyUnwrapped
  }

  // MARK: Operations. Each completes with `token`.

  /// recv(2) into a buffer the kernel takes from `pool`; 0 is end of file, ENOBUFS an empty pool, EAGAIN nothing there
  /// unless it `waits`. One that waits looks whether there is something before it tries (IORING_RECVSEND_POLL_FIRST, Linux
  /// 5.19): most are prepared when the last bytes have just been taken.
  public func prepareReceive(_ fd: Int32, from pool: BufferPool, maximumBytes: Int, waits: Bool = true, token: Token) {
    let sqe = entry(token)
    io_uring_prep_recv(sqe, fd, nil, maximumBytes, waits ? 0 : Int32(MSG_DONTWAIT))
    if waits { sqe.pointee.ioprio = UInt16(IORING_RECVSEND_POLL_FIRST) }
    finish(sqe, token, group: pool.group)
  }

  /// recv(2) of message after message, each into a buffer the kernel takes from `pool`, while buffers last (Linux 6.0).
  public func prepareReceiveMultishot(_ fd: Int32, from pool: BufferPool, token: Token) {
    let sqe = entry(token)
    io_uring_prep_recv_multishot(sqe, fd, nil, 0, 0)
    finish(sqe, token, group: pool.group)
  }

  /// read(2) of whole frames into buffers of `pool`, again and again while buffers last; needs `readMultishot`.
  public func prepareReadMultishot(_ fd: Int32, from pool: BufferPool, token: Token) {
    let sqe = entry(token)
    io_uring_prep_rw(Int32(NC_IORING_OP_READ_MULTISHOT), sqe, fd, nil, 0, UInt64(bitPattern: -1))
    finish(sqe, token, group: pool.group)
  }

  /// One read(2) into a buffer of `pool`.
  public func prepareRead(_ fd: Int32, from pool: BufferPool, token: Token) {
    let sqe = entry(token)
    io_uring_prep_read(sqe, fd, nil, UInt32(pool.bufferBytes), UInt64(bitPattern: -1))
    finish(sqe, token, group: pool.group)
  }

  /// One read(2) into the caller's memory.
  public func prepareRead(_ fd: Int32, into buffer: UnsafeMutableRawBufferPointer, token: Token) {
    let sqe = entry(token)
    io_uring_prep_read(sqe, fd, buffer.baseAddress, UInt32(buffer.count), UInt64(bitPattern: -1))
    finish(sqe, token)
  }

  /// writev(2) of `count` pieces; `vectors` must live until the completion.
  public func prepareWrite(_ fd: Int32, _ vectors: UnsafePointer<iovec>, count: Int, token: Token) {
    let sqe = entry(token)
    io_uring_prep_writev(sqe, fd, vectors, UInt32(count), UInt64(bitPattern: -1))
    finish(sqe, token)
  }

  /// sendmsg(2), waiting until at least a part could be sent; never SIGPIPE. `outOfBand`: with MSG_OOB.
  public func prepareSend(_ fd: Int32, _ message: UnsafePointer<msghdr>, outOfBand: Bool = false, token: Token) {
    let sqe = entry(token)
    io_uring_prep_sendmsg(sqe, fd, message, UInt32(MSG_NOSIGNAL) | (outOfBand ? UInt32(MSG_OOB) : 0))
    finish(sqe, token)
  }

  /// send(2) of all of `bytes`, waiting for room (MSG_WAITALL, Linux 5.19); never SIGPIPE. Cut short by an error it
  /// completes with what was sent, and the next send meets the error.
  public func prepareSend(_ fd: Int32, _ bytes: UnsafeRawBufferPointer, token: Token) {
    let sqe = entry(token)
    io_uring_prep_send(sqe, fd, bytes.baseAddress, bytes.count, Int32(MSG_NOSIGNAL) | Int32(MSG_WAITALL))
    finish(sqe, token)
  }

  /// recvmsg(2); descriptors that arrive are close-on-exec.
  public func prepareReceive(_ fd: Int32, _ message: UnsafeMutablePointer<msghdr>, token: Token) {
    let sqe = entry(token)
    io_uring_prep_recvmsg(sqe, fd, message, UInt32(MSG_CMSG_CLOEXEC))
    finish(sqe, token)
  }

  /// accept4(2) again and again (Linux 5.19); new descriptors are close-on-exec.
  public func prepareAcceptMultishot(_ fd: Int32, token: Token) {
    let sqe = entry(token)
    io_uring_prep_multishot_accept(sqe, fd, nil, nil, Int32(SOCK_CLOEXEC.rawValue))
    finish(sqe, token)
  }

  /// poll(2) once for `events` (and, as always, POLLERR and POLLHUP); completes with the events seen.
  public func preparePoll(_ fd: Int32, events: Int16, token: Token) {
    let sqe = entry(token)
    io_uring_prep_poll_add(sqe, fd, UInt32(UInt16(bitPattern: events)))
    finish(sqe, token)
  }

  /// poll(2) for `events` again and again, once for each change (Linux 5.13): the operation ends with a completion
  /// without `more`. The ring adds POLLRDHUP to what a poll waits for, so a single poll could not wait for POLLHUP alone
  /// where the other end has shut down one way.
  public func preparePollMultishot(_ fd: Int32, events: Int16, token: Token) {
    let sqe = entry(token)
    io_uring_prep_poll_multishot(sqe, fd, UInt32(UInt16(bitPattern: events)))
    finish(sqe, token)
  }

  /// Cancels the operation submitted with `target`; that one then completes with ECANCELED (or with what it had done).
  public func prepareCancel(_ target: Token, token: Token) {
    let sqe = entry(token)
    io_uring_prep_cancel64(sqe, target.rawValue, 0)
    finish(sqe, token)
  }

  /// Cancels all operations submitted with `target` (IORING_ASYNC_CANCEL_ALL, Linux 5.19).
  public func prepareCancelAll(_ target: Token, token: Token) {
    let sqe = entry(token)
    io_uring_prep_cancel64(sqe, target.rawValue, Int32(IORING_ASYNC_CANCEL_ALL))
    finish(sqe, token)
  }

  /// Completes at once with 0.
  public func prepareNop(token: Token) {
    let sqe = entry(token)
    io_uring_prep_nop(sqe)
    finish(sqe, token)
  }

  private func finish(_ sqe: UnsafeMutablePointer<io_uring_sqe>, _ token: Token, group: UInt16? = nil) {
    if let group {
      sqe.pointee.flags |= nc_sqe_flag_buffer_select()
      sqe.pointee.buf_group = group
    }
    sqe.pointee.user_data = token.rawValue
  }

  // MARK: Submission and completion

  /// Hands prepared operations to the kernel without waiting. EBUSY (completion queue over-full) is not an error: the
  /// entries stay queued until the next turn.
  @discardableResult public func submit() -> Int32 {
    enterCount += 1
    return capabilities.deferTaskrun ? io_uring_submit_and_get_events(ring) : io_uring_submit(ring)
  }

  /// Hands prepared operations to the kernel and waits until something completes or the time is over; or the time of an
  /// earlier call.
  ///
  /// To set a timer for each wait and take it down again would cost more than all else about it (under a hypervisor each is
  /// an exit). So one stands in the ring, which only an earlier deadline moves: of later ones it tells too soon, once.
  /// - Parameters:
  ///   - nanoseconds: the longest wait; nil waits without end, 0 does not wait.
  ///   - gathering: microseconds that the wait lasts at least, unless many complete meanwhile; needs `leastWait`, else 0 is meant.
  public func submitAndWait(nanoseconds: UInt64?, gathering: UInt32 = 0) {
    if nanoseconds == 0 || nc_cq_ready(ring) > 0 || !early.isEmpty {
      submit()
      return
    }
    if let nanoseconds {
      let (deadline, isEndless) = monotonicNanoseconds().addingReportingOverflow(nanoseconds)
      if !isEndless { setTimer(deadline, in: nanoseconds) }
    }
    if gathering > 0, capabilities.leastWait {
      submit()
      if nc_cq_ready(ring) == 0 { _ = nc_ring_gather(ring, Self.gatheredCount, gathering) }
      if nc_cq_ready(ring) > 0 { return }
    }
    enterCount += 1
    _ = io_uring_submit_and_wait(ring, 1)
  }

  /// So many completions end a wait that gathers.
  private static let gatheredCount: UInt32 = 32

  /// Sees to it that a completion comes at `deadline` at the latest, in so many nanoseconds (IORING_TIMEOUT_UPDATE, Linux
  /// 5.11; IOSQE_CQE_SKIP_SUCCESS, 5.17). The kernel is told how long, for its own clock differs in a time namespace.
  private func setTimer(_ deadline: UInt64, in nanoseconds: UInt64) {
    if let timerDeadline, timerDeadline <= deadline { return }
    let (seconds, rest) = nanoseconds.quotientAndRemainder(dividingBy: 1_000_000_000)
    timerTime.pointee = __kernel_timespec(tv_sec: Int64(clamping: seconds), tv_nsec: Int64(rest))
    if timerDeadline == nil {
      let sqe = entry(Self.timerToken)
      io_uring_prep_timeout(sqe, timerTime, 0, 0)
      finish(sqe, Self.timerToken)
    } else {
      // Where it has just come due, this fails, and its own completion ends the wait.
      let sqe = entry(Self.timerUpdateToken)
      io_uring_prep_timeout_update(sqe, timerTime, Self.timerToken.rawValue, 0)
      sqe.pointee.flags |= nc_sqe_flag_skip_success()
      finish(sqe, Self.timerUpdateToken)
    }
    timerDeadline = deadline
  }

  /// Hands prepared operations to the kernel and looks for completions without sleeping, for `nanoseconds` at most.
  /// Whoever else wants the CPU gets it between two looks (sched_yield(2)): an app on the same one must come to answer.
  /// - Returns: whether there are completions to `drain`.
  public func submitAndSpin(nanoseconds: UInt64) -> Bool {
    submit()
    let start = monotonicNanoseconds()
    while nc_ring_has_news(ring, Self.looksPerYield) == 0 {
      sched_yield()
      if monotonicNanoseconds() - start >= nanoseconds { return false }
    }
    submit()  // runs what the kernel has put off (DEFER_TASKRUN)
    return true
  }

  private static let looksPerYield: UInt32 = 32

  /// Runs `body` for each completion that has arrived, in order. Operations prepared by `body` are not yet submitted.
  public func drain(_ body: (Completion) -> Void) {
    func hand(_ completion: Completion) {
      switch completion.token {
      case Self.timerToken: timerDeadline = nil
      case Self.timerUpdateToken: break
      default:
        completionCount += 1
        body(completion)
      }
    }
    var count: UInt32
    repeat {
      let older = early
      early = []
      for completion in older { hand(completion) }
      count = nc_take_completions(ring, completions, Self.completionBatch)
      for index in 0..<Int(count) { hand(Completion(completions[index])) }
    } while count == Self.completionBatch || !early.isEmpty
  }

  /// The kernel takes no submission before completions are taken (EBUSY: the completion queue is over-full; EAGAIN: no
  /// memory): takes them out of the queue, for `drain` to run first.
  private func takeEarly() {
    let count = nc_take_completions(ring, completions, Self.completionBatch)
    for index in 0..<Int(count) { early.append(Completion(completions[index])) }
  }
}

extension Completion {
  fileprivate init(_ cqe: io_uring_cqe) {
    self.init(token: Token(rawValue: cqe.user_data), result: cqe.res, flags: cqe.flags)
  }
}
