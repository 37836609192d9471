internal import CLwip
internal import Glibc
internal import Slab

/// ICMP errors that arrive: to datagram sockets, and to TCP (RFC 5927).
extension Stack {
  /// Takes an ICMP error, `message`, whose checksum is right.
  func onErrorMessage(
    _ message: UnsafeRawBufferPointer, from teller: IPAddress, isV6: Bool, _ interface: NetworkInterface
  ) {
    let (type, code) = (message[0], message[1])
    let told =
      isV6
      ? Int(UInt32(bigEndian: message.loadUnaligned(fromByteOffset: 4, as: UInt32.self)))
      : Int(UInt16(bigEndian: message.loadUnaligned(fromByteOffset: 6, as: UInt16.self)))
    guard
      let meaning = isV6
        ? ICMPMeaning.v6(type: type, code: code, mtu: told) : ICMPMeaning.v4(type: type, code: code, mtu: told),
      let quoted = QuotedPacket(UnsafeRawBufferPointer(rebasing: message[8...]), isV6: isV6),
      interface.owns(quoted.source), meaning.error != EMSGSIZE || told < quoted.packetBytes
    else {
      datagramCounters.strayErrors += 1
      return
    }
    if quoted.transport == IPHeader.tcp {
      onTCPError(meaning, quoted, interface)
    } else {
      onDatagramError(meaning, quoted, (teller, type, code), interface)
    }
  }

  private func onDatagramError(
    _ meaning: ICMPMeaning, _ quoted: QuotedPacket, _ told: (by: IPAddress, type: UInt8, code: UInt8),
    _ interface: NetworkInterface
  ) {
    let kind: DatagramProtocol
    var (sourcePort, destinationPort): (UInt16, UInt16) = (0, 0)
    var headerBytes = 0
    switch (quoted.transport, quoted.source.isV6, quoted.transportBytes[0]) {
    case (IPHeader.udp, _, _):
      (kind, sourcePort, destinationPort, headerBytes) = (.udp, quoted.word(0), quoted.word(2), 8)
    case (IPHeader.icmp, false, 8): (kind, sourcePort) = (.icmp, quoted.word(4))
    case (IPHeader.icmpV6, true, 128): (kind, sourcePort) = (.icmpV6, quoted.word(4))
    default:
      datagramCounters.strayErrors += 1
      return
    }
    datagramCounters.errors += 1
    if meaning.error == EMSGSIZE { _ = interface.lowerPathMTU(to: quoted.destination, meaning.mtu) }
    datagramReceiver?.fail(
      DatagramFailure(
        kind: kind, interface: interface.number, source: Endpoint(address: quoted.source, port: sourcePort),
        destination: Endpoint(address: quoted.destination, port: destinationPort), error: meaning.error,
        isFatal: meaning.isFatal, teller: told.by, type: told.type, code: told.code, info: UInt32(meaning.mtu),
        payload: UnsafeRawBufferPointer(rebasing: quoted.transportBytes[headerBytes...])))
  }

  /// A connection that begins fails; an established one only remembers, and heeds "too big". As Linux (tcp_v4_err), only
  /// where the quoted sequence number is one of what is in flight: nobody off the path knows that.
  private func onTCPError(_ meaning: ICMPMeaning, _ quoted: QuotedPacket, _ interface: NetworkInterface) {
    let local = Endpoint(address: quoted.source, port: quoted.word(0))
    let remote = Endpoint(address: quoted.destination, port: quoted.word(2))
    let sequence = UInt32(quoted.word(4)) << 16 | UInt32(quoted.word(6))
    guard let pcb = activeBlock(interface.index, local, remote),
      let connection = connections.pointer(SlabKey(argument: pcb.pointee.callback_arg)), connection.pointee.pcb == pcb,
      sequence &- pcb.pointee.lastack <= pcb.pointee.snd_nxt &- pcb.pointee.lastack
    else {
      datagramCounters.strayErrors += 1
      return
    }
    datagramCounters.errors += 1
    let isConnecting = pcb.pointee.state == SYN_SENT
    if meaning.error == EMSGSIZE {
      let mtu = interface.lowerPathMTU(to: remote.address, meaning.mtu)
      guard !isConnecting else { return }  // `begin` asks for the path's MTU
      let wire = mtu - (remote.address.isV6 ? 60 : 40)
      connection.pointee.wireSegmentBytes = min(connection.pointee.wireSegmentBytes, wire)
      tuneSegmentSize(connection, pcb)
    } else if isConnecting {
      fail(SlabKey(argument: pcb.pointee.callback_arg), meaning.error)
    } else {
      connection.pointee.softError = meaning.error
    }
  }

  /// Ends a connection without a word to the peer; the owner hears of `error`.
  func fail(_ key: SlabKey, _ error: Int32) {
    guard let connection = connections.pointer(key), let pcb = connection.pointee.pcb else { return }
    detach(pcb)
    blocks.entering(pcb) { tcp_abandon(pcb, 0) }
    connection.pointee.pcb = nil
    connection.pointee.error = error
    releaseHeld(connection, before: nil)
    if connection.pointee.isDetached { dispose(key, connection) } else { post(.failed, to: key) }
  }
}
