/// Where the parts of a measurement run. Placement moves all figures (shared/design/datapath.md: a core that idles has
/// to be woken), so each is told with its place, and both sides get the same kinds of place.
struct Placement: Codable, Equatable, Sendable {
  /// Which places are tried.
  enum Choice: String, CaseIterable, Sendable {
    case same, split, both
  }

  /// CPU numbers.
  let app: Int
  /// nil for the kernel's side, which has no daemon.
  let daemon: Int?
  let peer: Int

  var isSplit: Bool { Set([app, daemon ?? app, peer]).count > 1 }

  var description: String {
    let daemonPart = daemon.map { " daemon:\($0)" } ?? ""
    return "app:\(app)\(daemonPart) peer:\(peer)"
  }

  /// The places of the kernel's two ends: on one CPU, and on two.
  static func kernel(_ choice: Choice, cpus: [Int]) -> [Placement] {
    places(choice, cpus) { first, second in
      [Placement(app: first, daemon: nil, peer: second)]
    }
  }

  /// The places of app, daemon and peer: all on one CPU, and each way to put them on two.
  static func netcond(_ choice: Choice, cpus: [Int]) -> [Placement] {
    places(choice, cpus) { first, second in
      if first == second { return [Placement(app: first, daemon: first, peer: first)] }
      return [
        Placement(app: first, daemon: first, peer: second),
        Placement(app: first, daemon: second, peer: second),
        Placement(app: first, daemon: second, peer: first),
      ]
    }
  }

  private static func places(_ choice: Choice, _ cpus: [Int], _ make: (Int, Int) -> [Placement]) -> [Placement] {
    guard let first = cpus.first else { return [] }
    var result: [Placement] = []
    if choice != .split || cpus.count < 2 { result += make(first, first) }
    if choice != .same, cpus.count > 1 { result += make(first, cpus[1]) }
    return result
  }
}
