import Foundation
import TestSupport
import Testing

extension SystemTests {
  /// UDP and ICMP sockets: to the kernel over a tap, and between two networks on a hub.
  @Suite struct Datagrams {
    /// Sends one datagram and checks what arrives, byte by byte, and where from.
    private func pass(
      _ count: Int, from sender: SocketAgent, _ source: String, to receiver: SocketAgent, _ destination: String
    ) throws {
      let port = try #require(try receiver.must("local u").split(separator: " ").last)
      let digest = try sender.must("sendto u \(count) \(count) \(destination) \(port)")
      let got = try receiver.must("recvfrom u").split(separator: " ").map(String.init)
      #expect(got.count == 4 && got[0] == String(count) && got[1] == digest && got[2] == source, "\(count): \(got)")
    }

    private func open(_ agent: SocketAgent, _ address: String) throws {
      try agent.must("socket u \(address.contains(":") ? "6" : "4") udp")
      try agent.must("bind u \(address) 0")
    }

    @Test(
      "datagrams of all sizes, the largest in 45 fragments, arrive whole both ways", .needsTap, .needs("python3"),
      arguments: [false, true])
    func sizes(ipv6: Bool) throws {
      let stage = try TapStage(ipv6: ipv6)
      let (app, kernel) = (try SocketAgent(stage.app), try SocketAgent(stage.kernel))
      let (own, peer) = ipv6 ? (Address.app6, Address.peer6) : (Address.app, Address.peer)
      try open(app, own)
      try open(kernel, peer)
      for count in [0, 1, 1400, 1452, 1453, 1472, 1473, 2944, 2945, 9000, 65_507] {
        try pass(count, from: app, own, to: kernel, peer)
        try pass(count, from: kernel, peer, to: app, own)
      }
      let tooMuch = try app.ask("sendto u 1 65536 \(peer) 9")
      #expect(tooMuch == "error EMSGSIZE")
    }

    @Test(
      "two networks on a hub exchange them, and programs of one network do", .needs("python3"),
      .needsOwnAddresses)
    func hub() throws {
      let stage = try HubStage(ipv6: true)
      let (left, right, near) = (
        try SocketAgent(stage.onLeft), try SocketAgent(stage.onRight), try SocketAgent(stage.onLeft)
      )
      for (own, other) in [(Address.left, Address.right), (Address.left6, Address.right6)] {
        try open(left, own)
        try open(right, other)
        try open(near, own)
        for count in [0, 1, 1500, 65_507] {
          try pass(count, from: left, own, to: right, other)
          try pass(count, from: right, other, to: left, own)
          try pass(count, from: left, own, to: near, own)
        }
      }
    }

    @Test("what overflows is lost in order, the daemon answers meanwhile, and the socket goes on", .needs("python3"))
    func overflow() throws {
      let stage = try HubStage()
      let (left, right, other) = (
        try SocketAgent(stage.onLeft), try SocketAgent(stage.onRight), try SocketAgent(stage.onRight)
      )
      try open(left, Address.left)
      try right.must("socket u 4 udp")
      try right.must("bind u \(Address.right) 5000")
      try left.begin("flood u 50000 1000 \(Address.right) 5000")
      // Meanwhile another program's connection is made and carries bytes.
      try other.must("socket l")
      try other.must("bind l \(Address.right) 6000")
      try other.must("listen l")
      let third = try SocketAgent(stage.onLeft)
      try third.must("socket c")
      try third.must("connect c \(Address.right) 6000", seconds: 5)
      try other.must("accept l s", seconds: 5)
      let digest = try third.must("send c 7 100000", seconds: 10)
      #expect(try other.must("recv s 100000", seconds: 10) == "100000 \(digest)")
      #expect(try left.answer(seconds: 60) == "ok")
      let drained = try right.must("drain u 500").split(separator: " ")
      let count = try #require(Int(drained[0]))
      #expect(count > 50 && count < 50_000 && drained[1] == "rising", "\(drained)")
      try pass(100, from: left, Address.left, to: right, Address.right)
    }

    @Test("errors come back: a host without the port, no route at all", .needsTap, .needs("python3"))
    func errors() throws {
      let stage = try TapStage(ipv6: true)
      let app = try SocketAgent(stage.app)
      for peer in [Address.peer, Address.peer6] {
        try app.must("socket u \(peer.contains(":") ? "6" : "4") udp")
        try app.must("connect u \(peer) 9")
        try app.must("send u 1 10")
        #expect(try app.ask("recvfrom u") == "error ECONNREFUSED")
        try app.must("close u")
      }
      try app.must("socket u 4 udp")
      #expect(try app.ask("sendto u 1 10 192.0.2.1 9") == "error ENETUNREACH")
    }

    @Test(
      "ping works out of the network, to the kernel and to another network", .needsTap, .needs("ping"),
      .needsOwnAddresses)
    func ping() throws {
      let tap = try TapStage(ipv6: true)
      let hub = try HubStage(ipv6: true)
      func check(_ address: String, _ options: [String], _ wrap: (Command) -> Command) throws {
        let command = Command("ping", ["-c", "3", "-i", "0.1", "-W", "3"] + options + [address])
        let result = try run(wrap(command), seconds: 20)
        #expect(result.status.isSuccess && result.standardOutput.contains(" 0% packet loss"), "\(result)")
        #expect(result.standardError.isEmpty, "\(result)")
      }
      for options in [[], ["-s", "3000"], ["-s", "0"]] {
        try check(Address.peer, options, tap.app)
        try check(Address.peer6, options, tap.app)
        try check(Address.right, options, hub.onLeft)
        try check(Address.right6, options, hub.onLeft)
      }
      try check(Address.left, [], hub.onLeft)
      try check("::1", [], hub.onLeft)
      let nobody = try run(tap.app(Command("ping", ["-c", "1", "-W", "5", "10.77.2.77"])), seconds: 20)
      #expect(nobody.standardOutput.contains("Destination Host Unreachable"), "\(nobody)")
      let large = try run(tap.app(Command("ping", ["-c", "1", "-M", "do", "-s", "1473", Address.peer])), seconds: 20)
      #expect(large.standardError.contains("mtu=1500"), "\(large)")
    }

    @Test(
      "broadcasts and groups reach all who listen: two networks on a hub, and the kernel", .needsTap, .needs("python3"))
    func groups() throws {
      let hub = try HubStage(ipv6: true)
      let tap = try TapStage(ipv6: true)
      let pairs: [(SocketAgent, SocketAgent, String, String)] = [
        (try SocketAgent(hub.onLeft), try SocketAgent(hub.onRight), Address.left, Address.right),
        (try SocketAgent(tap.app), try SocketAgent(tap.kernel), Address.app, Address.peer),
        (try SocketAgent(tap.kernel), try SocketAgent(tap.app), Address.peer, Address.app),
      ]
      for (sender, receiver, own, other) in pairs {
        try receiver.must("socket u 4 udp")
        try receiver.must("bind u 0.0.0.0 5000")
        try receiver.must("join u 239.77.1.1 \(other)")
        try sender.must("socket u 4 udp")
        try sender.must("bind u \(own) 0")
        try sender.must("via u \(own)")
        let subnet = own.split(separator: ".").dropLast().joined(separator: ".") + ".255"
        #expect(try sender.ask("sendto u 1 10 \(subnet) 5000") == "error EACCES")
        try sender.must("allow u broadcast")
        for destination in [subnet, "239.77.1.1"] {
          let digest = try sender.must("sendto u 3 300 \(destination) 5000")
          let got = try receiver.must("recvfrom u").split(separator: " ").map(String.init)
          #expect(got.prefix(3) == ["300", digest, own], "\(destination): \(got)")
        }
        let (six, sixOther) = (try sender.must("index"), try receiver.must("index"))
        try receiver.must("socket v 6 udp")
        try receiver.must("bind v :: 5001")
        try receiver.must("join v ff15::77 \(sixOther)")
        try sender.must("socket v 6 udp")
        try sender.must("via v \(six)")
        let digest = try sender.must("sendto v 4 400 ff15::77 5001")
        #expect(try receiver.must("recvfrom v").hasPrefix("400 \(digest) "))
      }
    }

    @Test("dig asks a name server given by address", .needsTap, .needs("dig"), .needs("dnsmasq"))
    func dig() throws {
      let stage = try TapStage()
      let folder = try TemporaryFolder("dns")
      let server = try ChildProcess(
        stage.kernel(
          Command(
            "dnsmasq",
            [
              "-k", "-p", "53", "--no-resolv", "--no-hosts", "--conf-file=/dev/null", "--user=root",
              "--pid-file=\(folder.path)/pid", "--address=/example.test/192.0.2.7", "--listen-address=\(Address.peer)",
              "--bind-interfaces",
            ])))
      defer { server.kill() }
      var answer = ""
      try waitUntil("dnsmasq answers", seconds: 15) {
        answer = try run(
          stage.app(Command("dig", ["@" + Address.peer, "example.test", "+short", "+tries=1", "+time=1"])), seconds: 10
        ).standardOutput
        return answer == "192.0.2.7\n"
      }
      #expect(answer == "192.0.2.7\n")
    }
  }
}
