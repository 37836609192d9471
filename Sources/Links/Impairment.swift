/// What befalls the packets of one direction of a link; the terms are tc-netem(8)'s. Each packet has its own fate.
public struct Impairment: Sendable, Equatable {
  /// Probabilities from 0 to 1, each for every packet by itself.
  public var loss = 0.0
  /// A packet that comes twice; each of the two then has its own fate.
  public var duplicate = 0.0
  /// A packet that does not wait, and so overtakes all that do.
  public var reorder = 0.0
  /// A bit of an IP packet that flips, always one that a checksum covers.
  public var corrupt = 0.0
  /// How long each packet is on its way.
  public var delayNanoseconds: UInt64 = 0
  /// The delay is as much longer or shorter at most, each as likely; packets whose delays differ overtake each other.
  public var jitterNanoseconds: UInt64 = 0
  /// What the wire carries, in bits per second, Ethernet's header included; nil: as much as comes.
  public var bitsPerSecond: UInt64?
  /// Packets that may wait at a time; what comes beyond is dropped.
  public var limit = Impairment.defaultLimit
  /// Where the direction's random numbers begin: the same packets, in the same order, then meet the same fate.
  /// nil: somewhere.
  public var seed: UInt64?

  /// 40 ms at 6 Gbit/s of packets of 1,500 bytes, or 240 ms at 1 Gbit/s.
  public static let defaultLimit = 20_000

  public init() {}

  /// Whether packets may have to wait.
  var delays: Bool { delayNanoseconds > 0 || jitterNanoseconds > 0 || bitsPerSecond != nil }
}

extension Impairment: CustomStringConvertible {
  /// As a network's file has it.
  public var description: String {
    var items: [String] = []
    func add(_ name: String, _ probability: Double) {
      if probability > 0 { items.append("\(name)=\(Self.text(probability * 100))%") }
    }
    add("loss", loss)
    if delayNanoseconds > 0 || jitterNanoseconds > 0 {
      let jitter = jitterNanoseconds > 0 ? "±" + Self.time(jitterNanoseconds) : ""
      items.append("delay=\(Self.time(delayNanoseconds))\(jitter)")
    }
    add("duplicate", duplicate)
    add("reorder", reorder)
    add("corrupt", corrupt)
    if let bitsPerSecond { items.append("rate=\(Self.text(Double(bitsPerSecond) / 1000))kbit") }
    items.append("limit=\(limit)")
    if let seed { items.append("seed=\(seed)") }
    return items.joined(separator: ",")
  }

  /// To a millionth, without zeros that say nothing.
  private static func text(_ value: Double) -> String {
    let millionths = UInt64((value * 1_000_000).rounded())
    let fraction = String(millionths % 1_000_000 + 1_000_000).dropFirst()
    let digits = String(fraction.reversed().drop { $0 == "0" }.reversed())
    return "\(millionths / 1_000_000)" + (digits.isEmpty ? "" : "." + digits)
  }

  private static func time(_ nanoseconds: UInt64) -> String {
    nanoseconds % 1_000_000 == 0 ? "\(nanoseconds / 1_000_000)ms" : "\(text(Double(nanoseconds) / 1000))us"
  }
}

/// What befell the packets of one direction since the link started.
public struct ImpairmentCounters: Sendable, Equatable {
  /// Packets that came, as they are on a wire: a frame that segmentation offload left whole counts as its segments.
  public var packets: UInt64 = 0
  public var lost: UInt64 = 0
  public var duplicated: UInt64 = 0
  /// Packets that overtook others by `Impairment.reorder`; those that jitter exchanged are not known.
  public var reordered: UInt64 = 0
  public var corrupted: UInt64 = 0
  /// Dropped because `Impairment.limit` packets were waiting.
  public var overLimit: UInt64 = 0
  /// Dropped because the daemon had no frame left.
  public var noFrame: UInt64 = 0
  public init() {}
}

extension ImpairmentCounters: CustomStringConvertible {
  /// What happened, for the log.
  public var description: String {
    let kinds: [(UInt64, String)] = [
      (lost, "lost"), (duplicated, "duplicated"), (reordered, "reordered"), (corrupted, "corrupted"),
      (overLimit, "beyond the limit"), (noFrame, "dropped for want of frames"),
    ]
    return (["\(packets) packets"] + kinds.filter { $0.0 > 0 }.map { "\($0.0) \($0.1)" }).joined(separator: ", ")
  }
}

/// Random numbers that a seed determines (Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators", 2014).
struct SplitMix64: RandomNumberGenerator {
  private var state: UInt64

  init(seed: UInt64) { state = seed }

  mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var mixed = state
    mixed = (mixed ^ (mixed >> 30)) &* 0xbf58_476d_1ce4_e5b9
    mixed = (mixed ^ (mixed >> 27)) &* 0x94d0_49bb_1331_11eb
    return mixed ^ (mixed >> 31)
  }

  /// True with `probability`. Takes a number only where it could be either.
  mutating func hits(_ probability: Double) -> Bool {
    probability > 0 && Double(next() >> 11) * 0x1p-53 < probability
  }

  /// A number below `bound`. What a modulus prefers is less than one part in 2³².
  mutating func below(_ bound: UInt64) -> UInt64 { bound == 0 ? 0 : next() % bound }
}
