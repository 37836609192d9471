internal import CLwip
internal import Glibc
internal import Slab

/// What lwIP calls when something happens to a connection. Inside lwIP: note and queue, nothing else.
extension Stack {
  func attach(_ pcb: UnsafeMutablePointer<tcp_pcb>, _ key: SlabKey) {
    tcp_arg(pcb, key.argument)
    tcp_recv(pcb) { argument, _, p, _ in
      Stack.current?.onReceive(SlabKey(argument: argument), p)
      return err_t(ERR_OK.rawValue)
    }
    tcp_sent(pcb) { argument, _, _ in
      Stack.current?.onSent(SlabKey(argument: argument))
      return err_t(ERR_OK.rawValue)
    }
    tcp_err(pcb) { argument, error in Stack.current?.onError(SlabKey(argument: argument), error) }
  }

  func detach(_ pcb: UnsafeMutablePointer<tcp_pcb>) {
    tcp_arg(pcb, nil)
    tcp_recv(pcb, nil)
    tcp_sent(pcb, nil)
    tcp_err(pcb, nil)
  }

  func onEstablished(_ key: SlabKey) {
    guard let connection = connections.pointer(key), let pcb = connection.pointee.pcb else { return }
    connection.pointee.roundTrip.acknowledged(
      before: pcb.pointee.snd_nxt, now: nowMicroseconds, isRetransmitting: pcb.pointee.nrtx > 0)
    begin(connection, pcb)
    holdHandshakeAcknowledgement(key, connection)
    post(.established, to: key)
  }

  func onAccept(_ listenerKey: SlabKey, _ pcb: UnsafeMutablePointer<tcp_pcb>?, _ error: err_t) -> err_t {
    guard let pcb, error == ERR_OK.rawValue, let listener = listeners.pointer(listenerKey) else {
      return err_t(ERR_VAL.rawValue)
    }
    var connection = Connection(
      pcb: pcb, interfaceIndex: pcb.pointee.netif_idx, owner: 0,
      local: Endpoint(address: IPAddress(&pcb.pointee.local_ip), port: pcb.pointee.local_port),
      remote: Endpoint(address: IPAddress(&pcb.pointee.remote_ip), port: pcb.pointee.remote_port))
    connection.settings = listener.pointee.settings
    connection.receiveLimitBytes = connection.settings.receiveLimitBytes
    guard let key = connections.insert(connection), let inserted = connections.pointer(key) else {
      return err_t(ERR_MEM.rawValue)  // lwIP then aborts the connection
    }
    attach(pcb, key)
    adopt(inserted.pointee.settings, pcb)
    if inserted.pointee.settings.userTimeoutMilliseconds > 0 {
      setUserTimeout(key, milliseconds: inserted.pointee.settings.userTimeoutMilliseconds)
    }
    begin(inserted, pcb)
    listener.pointee.accepted.append(key)
    if listener.pointee.accepted.count == 1 { post(listener: listenerKey) }
    return err_t(ERR_OK.rawValue)
  }

  private func onReceive(_ key: SlabKey, _ p: UnsafeMutablePointer<pbuf>?) {
    guard let connection = connections.pointer(key) else {
      if let p { pbuf_free(p) }
      return
    }
    guard let p else {
      connection.pointee.receivedEnd = true
      holdEndAcknowledgement(key, connection)
      finishIfEnded(connection)
      return post(.endOfStream, to: key)
    }
    receivedTotal += Int(p.pointee.tot_len)
    activity.moved(
      Int(p.pointee.tot_len), received: true, &connection.pointee.activity, nowMilliseconds: nowMilliseconds)
    holdAcknowledgement(key, connection, bytes: Int(p.pointee.tot_len))
    var piece: UnsafeMutablePointer<pbuf>? = p
    while let current = piece {  // taken apart: a chain's tot_len has 16 bits, the queue may be megabytes
      piece = current.pointee.next
      current.pointee.next = nil
      current.pointee.tot_len = current.pointee.len
      guard current.pointee.len > 0 else {
        pbuf_free(current)
        continue
      }
      connection.pointee.receivedBytes += Int(current.pointee.len)
      connection.pointee.received.append(current)
    }
    post(.received, to: key)
  }

  private func onSent(_ key: SlabKey) {
    guard let connection = connections.pointer(key), let pcb = connection.pointee.pcb else { return }
    connection.pointee.lastProgressMilliseconds = nowMilliseconds
    connection.pointee.softError = 0
    connection.pointee.roundTrip.acknowledged(
      before: pcb.pointee.lastack, now: nowMicroseconds, isRetransmitting: pcb.pointee.nrtx > 0)
    releaseHeld(connection, before: nc_tcp_oldest_referenced(pcb))
    if let end = connection.pointee.sentUrgentEnd, Int32(bitPattern: pcb.pointee.lastack &- end) >= 0 {
      connection.pointee.sentUrgentEnd = nil
    }
    if connection.pointee.isDetached {
      guard connection.pointee.held.isEmpty else { return }
      detach(pcb)
      dispose(key, connection)
    } else {
      finishIfEnded(connection)
      post(.sent, to: key)
    }
  }

  private func onError(_ key: SlabKey, _ error: err_t) {
    guard let connection = connections.pointer(key) else { return }
    connection.pointee.pcb = nil  // lwIP frees it
    connection.pointee.error =
      switch Int32(error) {
      case Int32(ERR_RST.rawValue): connection.pointee.isEstablished ? ECONNRESET : ECONNREFUSED
      case Int32(ERR_CLSD.rawValue): 0
      case Int32(ERR_ABRT.rawValue):  // retransmissions or keepalive probes ran out
        connection.pointee.softError != 0 ? connection.pointee.softError : ETIMEDOUT
      default: ECONNABORTED
      }
    releaseHeld(connection, before: nil)
    if connection.pointee.isDetached { dispose(key, connection) } else { post(.failed, to: key) }
  }
}
