internal import FoundationEssentials
internal import Glibc
internal import Links
internal import LwipGlue
internal import Slab

/// What the daemon tells of itself, as documents of the control interface.
extension Daemon {
  func statusDocument(_ home: Home) -> StatusDocument {
    let version = netcondVersion.split(separator: ".").map { Int($0) ?? 0 }
    var time = timespec()
    clock_gettime(CLOCK_REALTIME, &time)
    return StatusDocument(
      address: home.address, publicIdentity: home.publicIdentity,
      online: networks.contains { $0.link.facts.isUp }, versionMajor: version[0], versionMinor: version[1],
      versionRev: version[2], version: netcondVersion,
      clock: Int64(time.tv_sec) * 1000 + Int64(time.tv_nsec) / 1_000_000,
      netcond: StatusDocument.Daemon(
        home: home.path, pid: getpid(), uptimeSeconds: Double(now - startTime) / 1e9,
        controlPort: Int(control?.port ?? 0), ioUring: "\(ring.capabilities)",
        lwip: Stack.isSourceBuild ? "source" : "system", busyPoll: options.spinNanoseconds > 0,
        networks: networks.count,
        programs: clients.count, streamSockets: sockets.count - preparedCount, datagramSockets: datagrams.count,
        preparedSockets: preparedCount, connections: stack.connectionCount, descriptorLimit: options.descriptorLimit,
        frameBuffers: .init(
          free: framePool.freeCount, total: framePool.bufferCount, bytes: Self.frameBufferBytes),
        sendBuffers: .init(free: sendPool.freeCount, total: sendPool.bufferCount, bytes: Self.sendBufferBytes),
        counters: counterDictionary))
  }

  func configDocument(_ home: Home) -> ConfigDocument {
    ConfigDocument(
      settings: .init(
        port: Int(control?.port ?? 0), home: home.path, busyPoll: options.spinNanoseconds > 0,
        socketLimit: options.socketLimit, programLimit: options.clientLimit))
  }

  /// What happened since the daemon started, on all networks together.
  var counterDictionary: [String: UInt64] {
    let (own, udp, tcp) = (counters, stack.datagramCounters, stack.recoveryCounters)
    return [
      "connectionsAccepted": own.accepted, "connectionsMade": own.connected, "connectionsDirect": own.direct,
      "backlogDrops": own.backlogDrops, "errorsUntold": own.untoldErrors, "protocolErrors": own.protocolErrors,
      "refusals": own.refusals,
      "receiveBudgetDrops": stack.budgetDrops,
      "tcpResends": tcp.resends, "tcpResentBytes": tcp.resentBytes, "tcpTimeouts": tcp.timeouts,
      "tcpProbes": tcp.probes,
      "datagramsReceived": udp.received, "datagramsSent": udp.sent, "datagramsUnsent": udp.unsent + own.unsentDatagrams,
      "datagramsUnclaimed": udp.unclaimed, "datagramsMalformed": udp.malformed + own.malformedDatagrams,
      "datagramsBadChecksum": udp.badChecksum, "datagramsDelivered": own.deliveredDatagrams,
      "datagramsDropped": own.droppedDatagrams, "icmpErrors": udp.errors, "icmpStrayErrors": udp.strayErrors,
      "silentNeighbours": udp.silentNeighbours,
    ]
  }

  /// - Parameter sockets: of `countSockets`.
  func networkDocument(_ network: Network, sockets: [String: Int]) -> NetworkDocument {
    let interface = network.interface!
    let facts = network.link.facts
    let configuration = network.configuration
    let status = !facts.isUp ? "PORT_ERROR" : interface.hasLease ? "OK" : "REQUESTING_CONFIGURATION"
    return NetworkDocument(
      nwid: "\(network.id)", mac: "\(interface.mac)", name: network.link.name, status: status, mtu: interface.mtu,
      dhcp: configuration.usesDHCP, portError: facts.isUp ? 0 : -1,
      multicastSubscriptions: interface.groups.map { "\($0)" }.sorted(),
      assignedAddresses: interface.addresses.filter { !$0.address.isLoopback }.map { "\($0)" },
      portDeviceName: network.socketPath,
      netcond: NetworkDocument.Details(
        file: configuration.file, offloads: interface.offloads, routes: interface.currentRoutes.map { "\($0)" },
        nameServers: network.nameServers.map { "\($0)" }, searchDomains: network.searchDomains,
        outside: configuration.outside.rawValue, loopback: configuration.loopback.rawValue,
        impairIn: configuration.impairmentIn.map { "\($0)" }, impairOut: configuration.impairmentOut.map { "\($0)" },
        programs: clients.keys.count { clients.pointer($0)?.pointee.network == network.number }, sockets: sockets,
        counters: network.counterDictionary))
  }
}
