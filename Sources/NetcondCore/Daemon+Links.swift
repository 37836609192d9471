internal import Links
internal import LwipGlue
internal import UringLoop

/// The networks' links: which they are, and their part of a turn. A turn looks at none while none has called for attention
/// (`LinkAttention`) and none is due.
extension Daemon {
  func makeLink(_ configuration: NetworkConfiguration) throws -> any Link {
    let wire = try makeWire(configuration)
    var (inbound, outbound) = (configuration.impairmentIn, configuration.impairmentOut)
    guard inbound != nil || outbound != nil else { return wire }
    let seed = UInt64.random(in: 0...999_999_999)  // told, so that the run can be repeated
    if inbound?.seed == nil { inbound?.seed = seed }
    if outbound?.seed == nil { outbound?.seed = seed }
    for (direction, impairment) in [("in", inbound), ("out", outbound)] {
      if let impairment { log.notice("network \(configuration.id): impair-\(direction)=\(impairment)") }
    }
    return ImpairedLink(wire, inbound: inbound, outbound: outbound)
  }

  private func makeWire(_ configuration: NetworkConfiguration) throws -> any Link {
    switch configuration.link {
    case .hub(let name):
      let hub = hubs[name] ?? Hub(name: name)
      hubs[name] = hub
      return hub.makePort(mtu: configuration.mtu ?? 1500)
    case .tap(let name):
      return try TapLink(name: name, mtu: configuration.mtu, wantsOffloads: Stack.isSourceBuild)
    }
  }

  // MARK: Their part of a turn

  /// Whether a link waits to be polled.
  var linksArePending: Bool { linkAttention.isWanted && networks.contains { $0.link.isPending } }

  /// Lets the links do what they wait to do, if there is anything.
  func pollLinks() {
    guard linkAttention.isWanted || linkDeadline < .max else { return }
    let now = monotonicNanoseconds()  // the turn may have taken a while
    guard linkAttention.isWanted || linkDeadline <= now else { return }
    linkAttention.isWanted = false
    for network in networks {
      if let deadline = network.link.deadline, deadline <= now { network.link.expire(now: now) }
      network.link.poll()
    }
    linkDeadline = firstLinkDeadline
  }

  var firstLinkDeadline: UInt64 { networks.reduce(.max) { min($0, $1.link.deadline ?? .max) } }

  func adaptLinks() {
    guard now >= adaptDeadline else { return }
    adaptDeadline = now + 1_000_000
    let bulk = stack.bulk
    for network in networks { network.link.adapt(receivers: bulk.receivers, senders: bulk.senders, now: now) }
  }
}
