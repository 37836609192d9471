internal import CLwip
internal import Slab

/// What a connection owes its peer: the acknowledgement of what has come in bulk.
struct HeldAcknowledgement {
  /// The sequence number of the first byte that is not acknowledged, while one is held.
  var first: UInt32 = 0
  /// How many frames brought what is not acknowledged.
  var frames: UInt32 = 0
  /// When it is sent at the latest, in microseconds; 0 where none is held.
  var deadline: UInt64 = 0
  /// Until then every second segment is acknowledged, in milliseconds.
  var pauseEnd: UInt64 = 0
  /// How often one after the other it waited in vain.
  private var failures: UInt8 = 0
  private static let mostFailures: UInt8 = 7  // thus 64 ms

  /// It waited in vain.
  mutating func fail(nowMilliseconds: UInt64) {
    failures = min(failures + 1, Self.mostFailures)
    pauseEnd = nowMilliseconds + 1 << UInt64(failures - 1)
  }

  /// It did not have to wait to the end.
  mutating func succeed() { failures = 0 }
}

/// Acknowledgements of bulk on short paths: fewer than one for every second segment (RFC 9293 section 3.8.6.3).
///
/// Theory of operation: a sender on this machine answers each acknowledgement with what it has by then, which is seldom a whole
/// frame of 64 KiB: the more there are, the smaller and dearer its frames become. With one for 128 KiB it sends two thirds of
/// the frames; with fewer still it stands still at times. So an acknowledgement of what comes in order waits for so many bytes
/// (as window updates do: TCP_WND_UPDATE_THRESHOLD), but not much longer than a millisecond. Where it waited in vain, the peer
/// may send no more before it has it, and nothing is held for a while: a millisecond, twice as long
/// the next time. On long paths every delay costs, and little is gained; and who sends single segments over a wire would send
/// bursts that its queues may not take.
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
    guard owed < nc_tcp_update_threshold(pcb), nowMilliseconds >= connection.pointee.acknowledgement.pauseEnd,
      isFirst || connection.pointee.acknowledgement.deadline != 0,
      isFirst || owed >= Self.leastFrameBytes * connection.pointee.acknowledgement.frames,
      isShort(connection, recovery(of: pcb)),
      nc_tcp_hold_acknowledgement(pcb)
    else {
      if owed >= nc_tcp_update_threshold(pcb) { connection.pointee.acknowledgement.succeed() }
      connection.pointee.acknowledgement.deadline = 0
      return
    }
    guard isFirst else { return }
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
      connection.pointee.acknowledgement.fail(nowMilliseconds: nowMilliseconds)
      nc_tcp_flush_acknowledgement(pcb)
    }
  }
}
