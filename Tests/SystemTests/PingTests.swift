import TestSupport
import Testing

extension SystemTests {
  /// ARP, neighbour discovery, ICMP and fragments, with the kernel's ping as the judge.
  @Suite struct Ping {
    /// Three echo requests from the kernel's side; all must be answered.
    private func ping(_ stage: TapStage, _ address: String, _ options: [String] = []) throws {
      let ping = Command("ping", ["-c", "3", "-i", "0.1", "-W", "3"] + options + [address])
      let result = try stage.namespace.run(ping)
      #expect(result.status.isSuccess && result.standardOutput.contains(" 0% packet loss"), "\(result)")
    }

    @Test("answers, small and in fragments, and after the neighbour was forgotten", .needsTap, .needs("ping"))
    func answers() throws {
      let stage = try TapStage(ipv6: true)
      for address in [Address.app, Address.app6] {
        try ping(stage, address)
        try ping(stage, address, ["-s", "3000"])
        try ping(stage, address, ["-s", "1400"])
        try ping(stage, address, ["-s", "0"])
        try stage.namespace.ip(["neigh", "flush", "dev", stage.tap])
        try ping(stage, address)
      }
    }

    @Test("jumbo frames", .needsTap, .needs("ping"))
    func jumbo() throws {
      let stage = try TapStage(ipv6: true, mtu: 9000)
      for address in [Address.app, Address.app6] {
        try ping(stage, address, ["-s", "8900", "-M", "do"])
        try ping(stage, address, ["-s", "20000"])
      }
    }

    @Test("TCP goes on after the kernel's neighbour entry was flushed", .needsTap)
    func flushedNeighbour() throws {
      let stage = try TapStage()
      let (peer, app) = (try SocketAgent(stage.kernel), try SocketAgent(stage.app))
      try peer.accept(app, at: Address.peer)
      for round in 0..<5 {
        try stage.namespace.ip(["neigh", "flush", "dev", stage.tap])
        let sum = try app.must("send c \(round) 100000")
        #expect(try peer.must("recv s 100000") == "100000 \(sum)")
        let back = try peer.must("send s \(round) 100000")
        #expect(try app.must("recv c 100000") == "100000 \(back)")
      }
    }
  }
}
