internal import CLwip
internal import Glibc
public import Slab

/// What an app asks of a connection by its socket's options: from the SYN on, and of all that a listener accepts.
public struct ConnectionOptions: Sendable, Equatable {
  /// IP_TTL, IPV6_UNICAST_HOPS.
  public var hopLimit: UInt8 = 64
  /// IP_TOS, IPV6_TCLASS.
  public var trafficClass: UInt8 = 0
  /// IP_MINTTL, IPV6_MINHOPCOUNT: what comes with less is dropped; 0 for any.
  public var leastHopLimit: UInt8 = 0
  /// TCP_MAXSEG: payload bytes of a segment, announced to the peer and not exceeded; nil: what the MTU allows.
  public var segmentLimit: Int?
  /// SO_RCVBUF, TCP_WINDOW_CLAMP: the most that is announced, in bytes; nil: the stack's choice.
  public var receiveLimitBytes: Int?
  /// SO_SNDBUF: the most that waits for acknowledgement, in bytes; nil: the stack's choice.
  public var sendLimit: Int?
  /// TCP_NOTSENT_LOWAT: the most that is taken without having been sent, in bytes; nil: as much as fits.
  public var unsentLimit: Int?
  /// TCP_USER_TIMEOUT; 0 for none.
  public var userTimeoutMilliseconds: UInt32 = 0
  /// TCP_SYNCNT: how often a SYN is sent again before the attempt fails.
  public var synRetries: UInt8 = 6
  /// TCP_CORK: what fills no segment waits, for 200 ms at most.
  public var isCorked = false
  public init() {}
}

extension Stack {
  /// Gives a connection its settings; those of the SYN have an effect only if given with `connect` or `listen`.
  public func apply(_ settings: ConnectionOptions, to key: SlabKey) {
    guard let connection = connections.pointer(key) else { return }
    let before = connection.pointee.settings
    connection.pointee.settings = settings
    if let pcb = connection.pointee.pcb { adopt(settings, pcb) }
    if settings.receiveLimitBytes != before.receiveLimitBytes, let bytes = settings.receiveLimitBytes {
      setReceiveLimit(key, bytes: bytes)
    }
    if settings.userTimeoutMilliseconds != before.userTimeoutMilliseconds {
      setUserTimeout(key, milliseconds: settings.userTimeoutMilliseconds)
    }
    if before.isCorked, !settings.isCorked { uncork(key) }
    if settings.unsentLimit != before.unsentLimit || settings.sendLimit != before.sendLimit { post(.sent, to: key) }
  }

  /// The same for what a listener accepts from here on.
  public func apply(_ settings: ConnectionOptions, toListener key: SlabKey) {
    listeners.pointer(key)?.pointee.settings = settings
  }

  func adopt(_ settings: ConnectionOptions, _ pcb: UnsafeMutablePointer<tcp_pcb>) {
    pcb.pointee.ttl = settings.hopLimit
    pcb.pointee.tos = settings.trafficClass
  }

  /// TCP_QUICKACK: sends the acknowledgement that waits, if one does.
  public func acknowledgeNow(_ key: SlabKey) {
    if let pcb = connections.pointer(key)?.pointee.pcb { nc_tcp_flush_acknowledgement(pcb) }
  }

  // MARK: Sending

  /// The least room at which reading from the app is worth a system call.
  public func sendThreshold(_ key: SlabKey) -> Int {
    guard let settings = connections.pointer(key)?.pointee.settings else { return Self.receiveSpaceBytes }
    let limit = min(settings.sendLimit ?? .max, settings.unsentLimit ?? .max)
    return max(1, min(Self.receiveSpaceBytes, limit / 2))
  }

  /// How many bytes, at most `limit`, to take from the owner at once: whole segments of the size that is built now, so
  /// that none is left over to leave in a frame of its own.
  public func chunkBytes(_ key: SlabKey, upTo limit: Int) -> Int {
    guard let connection = connections.pointer(key), connection.pointee.superSegments,
      let pcb = connection.pointee.pcb
    else { return limit }
    let segment = max(1, Int(pcb.pointee.mss))
    return max(segment, min(limit, Self.superSegmentLimit) / segment * segment)
  }

  /// Whether the connection's bytes leave in super-segments, from the memory that `write` refers to.
  public func takesLargeSegments(_ key: SlabKey) -> Bool { connections.pointer(key)?.pointee.superSegments == true }

  /// What the settings leave of `space`.
  func limitedSpace(
    _ space: Int, _ connection: UnsafeMutablePointer<Connection>, _ pcb: UnsafeMutablePointer<tcp_pcb>
  ) -> Int {
    var space = space
    if let limit = connection.pointee.settings.sendLimit {
      space = min(space, limit - Int(pcb.pointee.snd_lbb &- pcb.pointee.lastack))
    }
    if let limit = connection.pointee.settings.unsentLimit {
      space = min(space, limit - Int(pcb.pointee.snd_lbb &- pcb.pointee.snd_nxt))
    }
    return space
  }

  /// Sends what TCP_CORK has held back for too long, and ends attempts that have sent their SYNs. While there are
  /// connections, lwIP's timers run, so this is looked at often enough.
  func runOptionTimers() {
    uncorkOverdue()
    blocks.forEachBusy { current in
      guard current.pointee.state == SYN_SENT, current.pointee.rtime + 1 >= current.pointee.rto,
        let connection = connection(of: current), current.pointee.nrtx >= connection.pointee.settings.synRetries
      else { return }
      fail(
        SlabKey(argument: current.pointee.callback_arg),
        connection.pointee.softError != 0 ? connection.pointee.softError : ETIMEDOUT)
    }
  }

  private func connection(of pcb: UnsafeMutablePointer<tcp_pcb>) -> UnsafeMutablePointer<Connection>? {
    guard let connection = connections.pointer(SlabKey(argument: pcb.pointee.callback_arg)),
      connection.pointee.pcb == pcb
    else { return nil }
    return connection
  }

  /// The PCB whose SYN, or answer to one, goes from and to these ports: one that had to wait for its neighbour's address
  /// leaves without lwIP saying whose it is.
  func handshake(
    interface: UInt8, localPort: UInt16, remote: Endpoint
  ) -> UnsafeMutablePointer<tcp_pcb>? {
    var found: ControlBlock?
    blocks.forEachBusy { block in
      let isHandshake = block.pointee.state == SYN_SENT || block.pointee.state == SYN_RCVD
      if isHandshake, block.pointee.local_port == localPort, block.pointee.remote_port == remote.port,
        block.pointee.netif_idx == interface, IPAddress(&block.pointee.remote_ip) == remote.address
      {
        found = block
      }
    }
    return found
  }

  /// The settings of a PCB that sends its SYN, or answers one for a listener.
  func settings(of pcb: UnsafeMutablePointer<tcp_pcb>) -> ConnectionOptions? {
    if let connection = connection(of: pcb) { return connection.pointee.settings }
    guard pcb.pointee.state == SYN_RCVD else { return nil }
    return listeners.pointer(SlabKey(argument: pcb.pointee.callback_arg))?.pointee.settings
  }

  /// IP_MINTTL: whether the packet that is processed comes from too far.
  func comesFromTooFar(_ pcb: UnsafeMutablePointer<tcp_pcb>) -> Bool {
    let least =
      pcb.pointee.state == LISTEN
      ? listeners.pointer(SlabKey(argument: pcb.pointee.callback_arg))?.pointee.settings.leastHopLimit
      : connection(of: pcb)?.pointee.settings.leastHopLimit
    guard let least, least > 0 else { return false }
    return nc_current_hop_limit() < least
  }
}
