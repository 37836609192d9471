/// Whose network a measurement uses.
enum Contender: String, Codable, CaseIterable, Sendable, CodingKeyRepresentable {
  case kernel
  case netcond
  /// The daemon polls instead of sleeping; measured where this daemon has the option.
  case netcondBusyPoll = "netcond --busy-poll"
  case pasta
  case slirp4netns
  /// The kernel with other congestion controls than the one it is measured with (`Congestion`).
  case kernelCubic = "kernel, CUBIC"
  case kernelBBR = "kernel, BBR"

  /// Whether a process lies between the two programs.
  var hasHelper: Bool { ![.kernel, .kernelCubic, .kernelBBR].contains(self) }
  var isNetcond: Bool { self == .netcond || self == .netcondBusyPoll }
}

/// What a path does to packets, both ways alike.
struct Impairment: Codable, Hashable, Sendable {
  let roundTripMilliseconds: Int
  let lossPercent: Double

  var description: String {
    let loss = lossPercent == 0 ? "no loss" : "\(Table.number(lossPercent, places: 0)) % loss"
    return "\(roundTripMilliseconds) ms, \(loss)"
  }
}

/// What lies between the two programs of a measurement.
enum Wiring: Hashable, Sendable {
  /// veth for the kernel, a tap with the kernel's stack at its other end for ours, theirs for the translators.
  case link
  /// The same beside this many idle connections.
  case idle(Int)
  /// Both programs on one network; the kernel's loopback.
  case local
  /// Each program on a network of its own, on one hub; veth for the kernel.
  case hub
  /// A relay that delays and loses packets, the same for all.
  case impaired(Impairment)

  /// How the contender is called on this wiring.
  func label(_ contender: Contender) -> String {
    switch (self, contender) {
    case (.local, .kernel): "kernel loopback"
    case (.impaired, .kernel): "kernel"
    case (_, .kernel): "kernel veth"
    default: contender.rawValue
    }
  }
}
