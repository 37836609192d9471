import TestSupport
import Testing

/// Faults by the kernel itself, on its side of a tap.
private enum KernelFaults {
  /// Whether the kernel's packet filter can throw dice, and nft(8) is there to ask for it.
  static let hasFilter = works("nft", [filter(percent: 1)])

  private static func works(_ program: String, _ arguments: [String]) -> Bool {
    guard Requirements.hasTap, Requirements.hasProgram(program), let namespace = try? NetworkNamespace("f") else {
      return false
    }
    return (try? namespace.run(Command(program, arguments)).status.isSuccess) == true
  }

  /// Rules that drop packets in both directions, super-segments whole.
  static func filter(percent: Int) -> String {
    let chains = ["input", "output"].map { hook in
      """
      add chain inet faults \(hook) { type filter hook \(hook) priority 0 ; }
      add rule inet faults \(hook) numgen random mod 100 < \(percent) counter drop
      """
    }
    return (["add table inet faults"] + chains).joined(separator: "\n")
  }
}

extension SystemTests {
  /// The same as `Impairments`, by means that are not ours.
  @Suite struct KernelFaultTests {
    private func exchange(_ stage: TapStage, bytes: Int) throws {
      for manner in ["bulk-send", "bulk-receive", "duplex"] {
        try stage.appAsClient.check([manner], bytes: bytes)
        try stage.appAsServer.check([manner], bytes: bytes)
      }
    }

    @Test(
      "the kernel's packet filter loses packets both ways",
      .enabled(if: KernelFaults.hasFilter, "needs root, nft(8), and nf_tables with numgen in the kernel"),
      arguments: [(1, 1_000_000), (5, 200_000), (10, 100_000)])
    func filter(percent: Int, bytes: Int) throws {
      let stage = try TapStage()
      try stage.namespace.run(Command("nft", [KernelFaults.filter(percent: percent)])).checked()
      var rules = ""
      for _ in 0..<20 {  // dice: with few large packets a round may lose none
        try exchange(stage, bytes: bytes)
        rules = try stage.namespace.run(Command("nft", ["list", "ruleset"])).checked().standardOutput
        if rules.count(of: "counter packets 0 ") == 0 { break }
      }
      #expect(rules.count(of: "drop") == 2 && rules.count(of: "counter packets 0 ") == 0, "\(rules)")
    }
  }
}

extension String {
  /// How many times `other` occurs.
  fileprivate func count(of other: String) -> Int { ranges(of: other).count }
}
