internal import CLwip
internal import DequeModule
public import Glibc
public import Slab

/// Errors of the stack as errnos of Linux; the daemon hands them to the app.
public struct StackError: Error, Sendable, Equatable {
  /// A positive errno.
  public let code: Int32
  public init(_ code: Int32) { self.code = code }
}

/// TCP connections: making, feeding and ending them.
extension Stack {
  /// Writes up to this size are copied into lwIP, so that a byte does not pin a 64 KiB buffer.
  public static let sendCopybreakBytes = 4096
  /// The least room at which reading from the app is worth a system call.
  public static var receiveSpaceBytes: Int { isSourceBuild ? 65_536 : 8192 }
  /// Segments of lwIP's queue (it counts buffers, not bytes) at which no more is taken from the app.
  private static let queueLimit = 4096

  // MARK: Making

  /// Begins a connection. `established` or `failed` follows as an event.
  /// - Parameters:
  ///   - local: the address to speak from (chosen where it is "any") and its port (chosen where it is 0).
  ///   - owner: comes back with each event.
  ///   - options: of all its segments, the SYN included.
  /// - Throws: ENETUNREACH without a route or address, EADDRNOTAVAIL without a free port, ENOBUFS without memory.
  public func connect(
    _ interface: NetworkInterface, from local: Endpoint, to remote: Endpoint, owner: UInt64, noDelay: Bool,
    options: ConnectionOptions = ConnectionOptions()
  ) throws(StackError) -> SlabKey {
    guard interface.hasRoute(to: remote.address), Self.isSourceBuild || !interface.owns(remote.address) else {
      throw StackError(ENETUNREACH)  // the packaged library loops packets through a thread that is not there
    }
    var local = local
    if local.address.isAny || local.address.isV6 != remote.address.isV6 {
      guard let source = interface.sourceAddress(for: remote.address) else { throw StackError(ENETUNREACH) }
      local.address = source
    }
    if local.port == 0 {
      guard let port = freePort(interface, local.address, remote) else { throw StackError(EADDRNOTAVAIL) }
      local.port = port
    } else if isConnected(interface.index, local, remote) {
      throw StackError(EADDRNOTAVAIL)
    }
    guard let pcb = tcp_new_ip_type(UInt8(IPADDR_TYPE_ANY.rawValue)) else { throw StackError(ENOBUFS) }
    pcb.pointee.netif_idx = interface.index
    pcb.pointee.local_ip = local.address.lwip(zone: interface.index)
    pcb.pointee.local_port = local.port
    var connection = Connection(
      pcb: pcb, interfaceIndex: interface.index, owner: owner, local: local, remote: remote)
    connection.noDelay = noDelay
    connection.lastProgressMilliseconds = nowMilliseconds
    guard let key = connections.insert(connection) else {
      tcp_abort(pcb)
      throw StackError(ENOBUFS)
    }
    attach(pcb, key)
    apply(options, to: key)
    var ip = remote.address.lwip(zone: interface.index)
    let status = tcp_connect(pcb, &ip, remote.port) { argument, _, _ in
      Stack.current?.onEstablished(SlabKey(argument: argument))
      return err_t(ERR_OK.rawValue)
    }
    blocks.park()
    guard status == ERR_OK.rawValue else {
      abort(key)
      throw StackError(status == ERR_RTE.rawValue ? ENETUNREACH : ENOBUFS)
    }
    connections.pointer(key)?.pointee.roundTrip.sent(
      before: pcb.pointee.snd_nxt, now: nowMicroseconds)
    watchNeighbour(of: key, interface, remote.address)
    return key
  }

  /// Begins to listen. Each accepted connection comes as an event.
  /// - Parameters:
  ///   - local: "any" addresses listen on all of the interface's; an IPv6 "any" also on IPv4 unless `v6Only`.
  ///   - backlog: half-open connections are bounded at 255 or this, whichever is less.
  /// - Throws: ENOBUFS without memory.
  public func listen(
    _ interface: NetworkInterface, on local: Endpoint, v6Only: Bool, owner: UInt64,
    options: ConnectionOptions = ConnectionOptions()
  ) throws(StackError) -> SlabKey {
    guard let pcb = tcp_new_ip_type(UInt8(IPADDR_TYPE_ANY.rawValue)) else { throw StackError(ENOBUFS) }
    pcb.pointee.netif_idx = interface.index
    let isDual = local.address == .anyV6 && !v6Only
    pcb.pointee.local_ip = isDual ? nc_ip_any_type() : local.address.lwip(zone: interface.index)
    pcb.pointee.local_port = local.port
    var status = err_t(ERR_OK.rawValue)
    guard let listening = tcp_listen_with_backlog_and_err(pcb, 255, &status) else {
      tcp_abort(pcb)
      throw StackError(status == ERR_USE.rawValue ? EADDRINUSE : ENOBUFS)
    }
    guard
      let key = listeners.insert(Listener(pcb: listening, interfaceIndex: interface.index, owner: owner))
    else {
      tcp_close(listening)
      throw StackError(ENOBUFS)
    }
    apply(options, toListener: key)
    tcp_arg(listening, key.argument)
    tcp_accept(listening) { argument, pcb, error in
      Stack.current?.onAccept(SlabKey(argument: argument), pcb, error) ?? err_t(ERR_ABRT.rawValue)
    }
    return key
  }

  /// Connections of a listener whose owner has not taken their events yet.
  public func untaken(_ key: SlabKey) -> Int { listeners.pointer(key)?.pointee.accepted.count ?? 0 }

  /// Gives a listener to another owner.
  public func setOwner(_ owner: UInt64, ofListener key: SlabKey) { listeners.pointer(key)?.pointee.owner = owner }

  /// Stops listening; connections that were not taken are reset, as Linux does.
  public func closeListener(_ key: SlabKey) {
    guard let listener = listeners.remove(key) else { return }
    for connection in listener.accepted { abort(connection) }
    guard let pcb = listener.pcb else { return }
    blocks.presentBusy()  // half-open connections know their listener
    tcp_close(pcb)
    leaveLwip()
  }

  // MARK: Asking

  public func setOwner(_ owner: UInt64, of key: SlabKey) { connections.pointer(key)?.pointee.owner = owner }

  public func owner(of key: SlabKey) -> UInt64? { connections.pointer(key)?.pointee.owner }

  /// Local and remote endpoint.
  public func endpoints(of key: SlabKey) -> (local: Endpoint, remote: Endpoint)? {
    guard let connection = connections.pointer(key) else { return nil }
    return (connection.pointee.local, connection.pointee.remote)
  }

  /// Why the connection failed: a positive errno; 0 where it ended in order or still lives.
  public func error(of key: SlabKey) -> Int32 { connections.pointer(key)?.pointee.error ?? 0 }

  /// How many connections there are, those in the background included.
  public var connectionCount: Int { connections.count }

  /// Whether any connection has bytes or a FIN that the peer has not acknowledged.
  public var hasUnacknowledged: Bool {
    var isUnacknowledged = false
    blocks.forEachBusy { isUnacknowledged = isUnacknowledged || $0.pointee.unsent != nil || $0.pointee.unacked != nil }
    return isUnacknowledged
  }

  /// Resets all connections.
  public func abortAll() {
    for key in connections.keys { abort(key) }
    blocks.presentAll()
    while let pcb = nc_tcp_active_pcbs() { tcp_abort(pcb) }
  }

  // MARK: Receiving

  /// Bytes waiting for the owner.
  public func receivedBytes(_ key: SlabKey) -> Int { connections.pointer(key)?.pointee.receivedBytes ?? 0 }

  /// Lists waiting bytes, in order, without taking them. The memory stays until `consume`.
  /// - Parameter limit: the most bytes to list.
  /// - Returns: how many of `vectors` were filled, and the bytes in them.
  public func gather(
    _ key: SlabKey, into vectors: UnsafeMutableBufferPointer<iovec>, limit: Int = .max
  ) -> (count: Int, bytes: Int) {
    guard let connection = connections.pointer(key) else { return (0, 0) }
    var offset = connection.pointee.receivedOffset
    var count = 0
    var bytes = 0
    for p in connection.pointee.received {
      guard count < vectors.count, bytes < limit else { break }
      let length = min(Int(p.pointee.len) - offset, limit - bytes)
      vectors[count] = iovec(iov_base: p.pointee.payload + offset, iov_len: length)
      offset = 0
      count += 1
      bytes += length
    }
    return (count, bytes)
  }

  /// The owner is done with `bytes` bytes: their memory is freed and the window opens.
  public func consume(_ key: SlabKey, bytes: Int) {
    guard let connection = connections.pointer(key) else { return }
    connection.pointee.receivedBytes -= bytes
    connection.pointee.readSequence &+= UInt32(bytes)
    receivedTotal -= bytes
    var left = bytes + connection.pointee.receivedOffset
    while let first = connection.pointee.received.first, left >= Int(first.pointee.len) {
      left -= Int(first.pointee.len)
      connection.pointee.received.removeFirst()
      pbuf_free(first)
    }
    connection.pointee.receivedOffset = left
    guard let pcb = connection.pointee.pcb else { return }
    adaptReceiveLimit(connection, pcb, bytes)
    nc_tcp_credit(pcb, UInt32(creditAfterConsuming(connection, pcb, bytes)))
  }

  // MARK: Sending

  /// How many bytes `write` takes now.
  public func sendSpace(_ key: SlabKey) -> Int {
    guard let connection = connections.pointer(key), let pcb = connection.pointee.pcb else { return 0 }
    guard Int(pcb.pointee.snd_queuelen) < min(Self.queueLimit, Int(nc_tcp_queue_limit()) / 2) else { return 0 }
    let outstanding = Int(pcb.pointee.snd_lbb &- nc_tcp_oldest_referenced(pcb))
    let space = min(sendBudget(connection, pcb) - outstanding, Int(nc_tcp_send_space(pcb)))
    return max(0, limitedSpace(space, connection, pcb))
  }

  /// Queues bytes to send, and sends what may be sent. Up to `sendCopybreakBytes` are copied; beyond, where `mayHold`,
  /// `base` must lie in the stack's `SendMemory`, whose buffer is retained until the bytes are acknowledged.
  /// - Parameter more: a `flush` follows, perhaps with more before it: while anything is unacknowledged, what does not fill the
  ///   largest segment that may be built now waits for it.
  /// - Returns: how many bytes were taken; the rest is to be offered again after a `sent` event.
  public func write(_ key: SlabKey, _ base: UnsafeRawPointer, count: Int, mayHold: Bool, more: Bool = false) -> Int {
    guard let connection = connections.pointer(key), let pcb = connection.pointee.pcb else { return count }
    if connection.pointee.settings.isCorked || !connection.pointee.corked.isEmpty {
      return writeCorked(key, connection, pcb, base, count: count, mayHold: mayHold)
    }
    return writeThrough(connection, pcb, base, count: count, mayHold: mayHold, more: more)
  }

  /// Sends what a `write` with `more` has held back.
  public func flush(_ key: SlabKey) {
    guard let connection = connections.pointer(key), let pcb = connection.pointee.pcb else { return }
    if connection.pointee.superSegments { nc_tcp_set_nodelay(pcb, true) }
    output(connection, pcb)
  }

  func writeThrough(
    _ connection: UnsafeMutablePointer<Connection>, _ pcb: UnsafeMutablePointer<tcp_pcb>, _ base: UnsafeRawPointer,
    count: Int, mayHold: Bool, more: Bool = false
  ) -> Int {
    let copies = count <= Self.sendCopybreakBytes || !mayHold || Self.copiesOnWrite
    tuneSegmentSize(connection, pcb)
    if pcb.pointee.unacked == nil, pcb.pointee.unsent == nil {
      connection.pointee.lastProgressMilliseconds = nowMilliseconds
    }
    var taken = 0
    while taken < count {
      let step = min(min(count - taken, 0xffff), Int(nc_tcp_send_space(pcb)))
      guard step > 0 else { break }
      let flags = UInt32(copies ? TCP_WRITE_FLAG_COPY : 0)
      guard tcp_write(pcb, base + taken, UInt16(step), UInt8(flags)) == ERR_OK.rawValue else { break }
      taken += step
    }
    if taken > 0, !copies {
      sendMemory?.retain(holding: base)
      connection.pointee.held.append(Connection.Held(end: pcb.pointee.snd_lbb, address: base))
    }
    activity.moved(taken, received: false, &connection.pointee.activity, nowMilliseconds: nowMilliseconds)
    // lwIP's own Nagle is about its largest segment. It stays on until all is flushed: acknowledgements that come meanwhile would
    // let go of what does not fill one, a frame in five.
    if connection.pointee.superSegments { nc_tcp_set_nodelay(pcb, !more) }
    output(connection, pcb)
    blocks.noteWork(pcb)
    return taken
  }

  /// Nagle's algorithm (RFC 9293 section 3.7.4) against the wire's segment size; lwIP's own compares with pcb->mss, which
  /// super-segments raise.
  private func output(_ connection: UnsafeMutablePointer<Connection>, _ pcb: UnsafeMutablePointer<tcp_pcb>) {
    let wire = UInt32(connection.pointee.wireSegmentBytes)
    let mayWait = connection.pointee.superSegments && !connection.pointee.noDelay && pcb.pointee.unacked != nil
    if mayWait, nc_tcp_unsent_bytes(pcb, wire) < wire { return }
    if let recovery = recovery(of: pcb) {
      openWindow(recovery, acknowledged: pcb.pointee.lastack)
    } else {
      connection.pointee.roundTrip.sent(before: pcb.pointee.snd_lbb, now: nowMicroseconds)
    }
    tcp_output(pcb)
  }

  /// Sends again where the link had refused frames.
  public func linkReady() {
    blocks.forEachBusy { if nc_tcp_lacked_memory($0) { tcp_output($0) } }
  }

  /// TCP_NODELAY.
  public func setNoDelay(_ key: SlabKey, _ on: Bool) {
    guard let connection = connections.pointer(key) else { return }
    connection.pointee.noDelay = on
    guard let pcb = connection.pointee.pcb else { return }
    if !connection.pointee.superSegments { nc_tcp_set_nodelay(pcb, on) }
    if on { tcp_output(pcb) }
  }

  /// SO_KEEPALIVE and its timers (tcp(7)); milliseconds, nil keeps the value.
  public func setKeepalive(_ key: SlabKey, on: Bool, idle: UInt32, interval: UInt32, count: UInt32) {
    guard let pcb = connections.pointer(key)?.pointee.pcb else { return }
    pcb.pointee.keep_idle = idle
    pcb.pointee.keep_intvl = interval
    pcb.pointee.keep_cnt = count
    nc_tcp_set_option(pcb, UInt8(SOF_KEEPALIVE), on)
    blocks.noteWork(pcb)
  }

  // MARK: Ending

  /// Sends FIN behind what is queued; receiving goes on.
  public func shutdownSend(_ key: SlabKey) {
    guard let connection = connections.pointer(key), let pcb = connection.pointee.pcb else { return }
    uncork(key)
    nc_tcp_restart_ending(pcb)
    blocks.entering(pcb) { tcp_shutdown(pcb, 0, 1) }
    connection.pointee.sentEnd = true
    finishIfEnded(connection)
  }

  /// Lets go of a PCB that has ended both ways: lwIP moves it to TIME_WAIT and frees it without telling. Memory that is
  /// not acknowledged yet is waited for.
  func finishIfEnded(_ connection: UnsafeMutablePointer<Connection>) {
    guard connection.pointee.sentEnd, connection.pointee.receivedEnd, connection.pointee.held.isEmpty,
      let pcb = connection.pointee.pcb
    else { return }
    detach(pcb)
    connection.pointee.pcb = nil
  }

  /// Ends the connection in order: queued bytes and FIN are still delivered, in the background. The key is stale after.
  public func close(_ key: SlabKey) {
    guard let connection = connections.pointer(key) else { return }
    uncork(key)
    freeReceived(connection)
    guard let pcb = connection.pointee.pcb else {
      _ = connections.remove(key)
      return
    }
    // lwIP would send RST where the window is not full, taking that for unread data; whether there is any is the
    // owner's knowledge, who then calls abort.
    nc_tcp_forgive_unread(pcb)
    nc_tcp_restart_ending(pcb)
    if connection.pointee.held.isEmpty {
      detach(pcb)
      _ = connections.remove(key)
    } else {
      connection.pointee.isDetached = true
      connection.pointee.events = []
    }
    blocks.entering(pcb) { tcp_close(pcb) }
  }

  /// Ends the connection at once, with RST if the peer knows of it. The key is stale after.
  public func abort(_ key: SlabKey) {
    guard let connection = connections.pointer(key) else { return }
    let pcb = connection.pointee.pcb
    if let pcb {
      detach(pcb)
      blocks.entering(pcb) { tcp_abort(pcb) }
    }
    dispose(key, connection)
  }

  func dispose(_ key: SlabKey, _ connection: UnsafeMutablePointer<Connection>) {
    freeReceived(connection)
    releaseHeld(connection, before: nil)
    _ = connections.remove(key)
  }

  private func freeReceived(_ connection: UnsafeMutablePointer<Connection>) {
    while let p = connection.pointee.received.popFirst() { pbuf_free(p) }
    receivedTotal -= connection.pointee.receivedBytes
    connection.pointee.receivedBytes = 0
    connection.pointee.receivedOffset = 0
  }

  /// Gives back memory of bytes before the sequence number `before`; nil: all.
  func releaseHeld(_ connection: UnsafeMutablePointer<Connection>, before: UInt32?) {
    while let first = connection.pointee.held.first {
      if let before, Int32(bitPattern: first.end &- before) > 0 { return }
      connection.pointee.held.removeFirst()
      sendMemory?.release(holding: first.address)
    }
  }
}
