/// Where the parts of a measurement run. Placement moves all figures (shared/design/datapath.md: a core that idles has
/// to be woken), so each is told with its place, and all contenders get the same kinds of place.
struct Placement: Codable, Hashable, Sendable {
  /// Which places are tried.
  enum Choice: String, CaseIterable, Sendable {
    case same, split, both
    /// One place for all: the app on one CPU, everything else on another.
    case apart
  }

  /// CPU numbers.
  let app: Int
  /// Of the daemon, or of the process that translates; nil where there is none.
  let helper: Int?
  let peer: Int

  var isSplit: Bool { Set([app, helper ?? app, peer]).count > 1 }

  /// Whether the two programs are on two CPUs.
  var hasEndsApart: Bool { app != peer }

  var description: String {
    let helperPart = helper.map { " daemon:\($0)" } ?? ""
    return "app:\(app)\(helperPart) peer:\(peer)"
  }

  /// The places of two ends, and of the process between them if there is one: all on one CPU, and each way to put them
  /// on two.
  static func all(_ choice: Choice, cpus: [Int], hasHelper: Bool) -> [Placement] {
    guard let first = cpus.first else { return [] }
    if choice == .apart {
      let other = cpus.count > 1 ? cpus[1] : first
      return [Placement(app: first, helper: hasHelper ? other : nil, peer: other)]
    }
    var result: [Placement] = []
    if choice != .split || cpus.count < 2 {
      result.append(Placement(app: first, helper: hasHelper ? first : nil, peer: first))
    }
    guard choice != .same, cpus.count > 1 else { return result }
    let second = cpus[1]
    guard hasHelper else { return result + [Placement(app: first, helper: nil, peer: second)] }
    return result + [
      Placement(app: first, helper: first, peer: second),
      Placement(app: first, helper: second, peer: second),
      Placement(app: first, helper: second, peer: first),
    ]
  }
}
