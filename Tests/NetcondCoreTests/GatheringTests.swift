import Testing
import UringLoop

@testable import NetcondCore

struct GatheringTests {
  private static let receiving = (receivers: 1, senders: 0)

  @Test func `frames gather while there is nothing but bulk to receive`() {
    let gathering = Gathering()
    #expect(gathering.least(Self.receiving, now: 5_000_000) == Gathering.microseconds)
    #expect(gathering.least((receivers: 0, senders: 0), now: 5_000_000) == 0)
    #expect(gathering.least((receivers: 3, senders: 1), now: 5_000_000) == 0)
  }

  @Test func `who has just asked or sent something does not wait for them`() {
    for (kind, operation) in [
      (Daemon.Kind.socket, Daemon.Operation.receive), (Daemon.Kind.socket, Daemon.Operation.readable),
      (Daemon.Kind.client, 0), (Daemon.Kind.datagram, 1),
    ] {
      var gathering = Gathering()
      gathering.note(Token(kind: kind, operation: operation, owner: 7), result: 1, now: 5_000_000)
      #expect(gathering.least(Self.receiving, now: 5_900_000) == 0, "kind \(kind), operation \(operation)")
      #expect(gathering.least(Self.receiving, now: 6_000_000) == Gathering.microseconds)
    }
  }

  @Test func `what the app takes, and what frames bring, is none of that`() {
    var gathering = Gathering()
    gathering.note(
      Token(kind: Daemon.Kind.socket, operation: Daemon.Operation.send, owner: 7), result: 9, now: 5_000_000)
    gathering.note(Token(kind: Daemon.Kind.link, operation: 1, owner: 7), result: 9, now: 5_000_000)
    gathering.note(
      Token(kind: Daemon.Kind.socket, operation: Daemon.Operation.receive, owner: 7), result: -11, now: 5_000_000)
    #expect(gathering.least(Self.receiving, now: 5_000_001) == Gathering.microseconds)
  }
}
