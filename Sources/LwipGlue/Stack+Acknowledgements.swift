internal import CLwip
internal import DequeModule
internal import Slab

/// When acknowledgements are not held: for a while after one that waited in vain.
struct HoldingPause {
  /// Milliseconds.
  private var end: UInt64 = 0
  /// How often one after the other waited in vain.
  private var failures: UInt64 = 0
  private let mostFailures: UInt64

  /// - Parameter longest: the longest pause, in milliseconds: a power of two.
  init(longest: UInt64) { mostFailures = UInt64(longest.trailingZeroBitCount) + 1 }

  func isOver(nowMilliseconds: UInt64) -> Bool { nowMilliseconds >= end }

  /// One waited in vain.
  mutating func fail(nowMilliseconds: UInt64) {
    failures = min(failures + 1, mostFailures)
    end = nowMilliseconds + 1 << (failures - 1)
  }

  /// One did not have to wait to the end.
  mutating func succeed() { failures = 0 }
}

/// What a connection owes its peer: the acknowledgement of what has come in bulk.
struct HeldAcknowledgement {
  /// The sequence number of the first byte that is not acknowledged, while one is held.
  var first: UInt32 = 0
  /// How many frames brought what is not acknowledged.
  var frames: UInt32 = 0
  /// When it is sent at the latest, in microseconds; 0 where none is held.
  var deadline: UInt64 = 0
  /// Until then every second segment is acknowledged.
  var pause = HoldingPause(longest: 64)
}

/// The acknowledgements that wait for what the app says, of all connections.
struct AwaitedAnswers {
  /// Connections, until when in microseconds, and the sequence number of what the app says first; some may have been sent since.
  var queue: Deque<(key: SlabKey, deadline: UInt64, next: UInt32)> = []
  /// The connection whose handshake lwIP is about to acknowledge.
  var established: ControlBlock?
  private(set) var pause = HoldingPause(longest: 1024)
  /// Of the last ones, which share waited in vain, in 256ths.
  private var shareInVain = 0

  /// One has gone with an answer, or waited in vain: where most do, none is held for a while.
  mutating func note(inVain: Bool, nowMilliseconds: UInt64) {
    shareInVain += ((inVain ? 256 : 0) - shareInVain) / 8
    if !inVain {
      pause.succeed()
    } else if shareInVain > 128 {
      pause.fail(nowMilliseconds: nowMilliseconds)
    }
  }
}

/// Acknowledgements of bulk on short paths: fewer than one for every second segment (RFC 9293 section 3.8.6.3).
///
/// Theory of operation: a sender on this machine answers each acknowledgement with what it has by then, which is seldom a whole
/// frame of 64 KiB: the more there are, the smaller and dearer its frames become. With one for 128 KiB it sends two thirds of
/// the frames; with fewer still it stands still at times. So an acknowledgement of what comes in order waits until the app has taken
/// so many bytes, and goes with the window's update (TCP_WND_UPDATE_THRESHOLD); where the app is behind, until twice as many have
/// come; but not much longer than a millisecond. Where it waited in vain, the peer may send no more before it has it, and nothing is
/// held for a while: a millisecond, twice as long the next time. On long paths every delay costs, and little is gained; and who
/// sends single segments over a wire would send bursts that its queues may not take.
extension Stack {
  private static let holdMicroseconds: UInt64 = 1000
  /// Payload of a frame, on average, where frames are put together by the sender's kernel or on the way: no single segments.
  private static let leastFrameBytes: UInt32 = 16 * 1024
  /// Received by one connection in a period of `Activity`, of 16 ms, it is bulk.
  private static let bulkBytes: UInt32 = 1 << 20

  /// In-order bytes were received, and lwIP is about to acknowledge them. From within its callback.
  func holdAcknowledgement(_ key: SlabKey, _ connection: UnsafeMutablePointer<Connection>, bytes: Int) {
    guard Self.isSourceBuild, connection.pointee.activity.bytes >= Self.bulkBytes, let pcb = connection.pointee.pcb
    else { return }
    let isFirst = !nc_tcp_acknowledges(pcb)  // lwIP holds the first segment's by itself, and sends with the second one
    if isFirst {
      connection.pointee.acknowledgement.first = pcb.pointee.rcv_nxt &- UInt32(bytes)
      connection.pointee.acknowledgement.frames = 0
    }
    connection.pointee.acknowledgement.frames += 1
    let owed = pcb.pointee.rcv_nxt &- connection.pointee.acknowledgement.first
    guard owed < 2 &* nc_tcp_update_threshold(pcb),
      connection.pointee.acknowledgement.pause.isOver(nowMilliseconds: nowMilliseconds),
      isFirst || connection.pointee.acknowledgement.deadline != 0,
      isFirst || owed >= Self.leastFrameBytes * connection.pointee.acknowledgement.frames,
      isShort(connection, recovery(of: pcb)),
      nc_tcp_hold_acknowledgement(pcb)
    else {
      if owed >= nc_tcp_update_threshold(pcb) { connection.pointee.acknowledgement.pause.succeed() }
      connection.pointee.acknowledgement.deadline = 0
      return
    }
    guard isFirst else { return }
    // The last one that was held has gone with a window's update, or with bytes, before its time was over.
    if connection.pointee.acknowledgement.deadline != 0 { connection.pointee.acknowledgement.pause.succeed() }
    connection.pointee.acknowledgement.deadline = nowMicroseconds + Self.holdMicroseconds
    heldAcknowledgements.append((key, connection.pointee.acknowledgement.deadline))
  }

  /// Sends those that have waited long enough.
  func sendHeldAcknowledgements() {
    while let (key, deadline) = heldAcknowledgements.first, deadline <= nowMicroseconds {
      heldAcknowledgements.removeFirst()
      guard let connection = connections.pointer(key), connection.pointee.acknowledgement.deadline == deadline else {
        continue
      }
      connection.pointee.acknowledgement.deadline = 0
      guard let pcb = connection.pointee.pcb, nc_tcp_owes_acknowledgement(pcb) else { continue }
      connection.pointee.acknowledgement.pause.fail(nowMilliseconds: nowMilliseconds)
      nc_tcp_flush_acknowledgement(pcb)
    }
    sendAwaitingAcknowledgements()
  }
}

/// Acknowledgements that the app's answer can carry: of a handshake, behind which a client sends its request, and of the peer's
/// end, at which most apps close.
///
/// Theory of operation: each is a frame of its own, and a tenth of the daemon's work for a connection that carries a request and its
/// answer; the answer comes as soon as the app runs. A daemon with little to do sends it nevertheless: someone may wait for it.
/// With many connections at once the app has got to see to others first, and the peers wait in any case: then it is held, for as
/// long as 64 connections take to come round. Linux does the same where it knows of an answer (tcp_rcv_synsent_state_process,
/// inet_csk_in_pingpong_mode), for up to 200 ms. Where apps have nothing to say (clients of a server that speaks first),
/// nothing is held for a while (`AwaitedAnswers.note`).
extension Stack {
  private static let answerMicroseconds: UInt64 = 10_000

  /// The peer has accepted our connection, and lwIP is about to acknowledge that. From within its callback.
  func holdHandshakeAcknowledgement(_ key: SlabKey, _ connection: UnsafeMutablePointer<Connection>) {
    guard mayAwaitAnswer, let pcb = connection.pointee.pcb else { return }
    answers.established = pcb
    awaitAnswer(key, pcb)
  }

  /// The peer has ended, and lwIP is about to acknowledge that. From within its callback. With bytes before the end that are not
  /// acknowledged either it is not held: of two segments under way the peer sends the last again after two of its clock's
  /// ticks (tcp_schedule_loss_probe).
  func holdEndAcknowledgement(_ key: SlabKey, _ connection: UnsafeMutablePointer<Connection>) {
    guard mayAwaitAnswer, let pcb = connection.pointee.pcb, nc_tcp_hold_end_acknowledgement(pcb) else { return }
    awaitAnswer(key, pcb)
  }

  private var mayAwaitAnswer: Bool {
    Self.isSourceBuild && isBusy && answers.pause.isOver(nowMilliseconds: nowMilliseconds)
  }

  private func awaitAnswer(_ key: SlabKey, _ pcb: ControlBlock) {
    answers.queue.append((key, nowMicroseconds + Self.answerMicroseconds, pcb.pointee.snd_nxt))
  }

  /// Whether the packet that lwIP sends is the acknowledgement of a handshake that is to wait. lwIP tells of the handshake before it
  /// makes one, and keeps it in mind where it could not be sent.
  func holdsBack(from netif: UnsafeMutablePointer<netif>) -> Bool {
    guard let established = answers.established else { return false }
    answers.established = nil
    return nc_netif_sending_pcb(netif) == established && established.pointee.unsent == nil
  }

  private func sendAwaitingAcknowledgements() {
    while let (key, deadline, next) = answers.queue.first, deadline <= nowMicroseconds {
      answers.queue.removeFirst()
      guard let pcb = connections.pointer(key)?.pointee.pcb, pcb.pointee.snd_nxt == next else {
        answers.note(inVain: false, nowMilliseconds: nowMilliseconds)
        continue
      }
      answers.note(inVain: true, nowMilliseconds: nowMilliseconds)
      nc_tcp_flush_acknowledgement(pcb)  // unless lwIP's own timer has
    }
  }
}
