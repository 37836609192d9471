import ControlPlane
import Glibc
import Testing
import UringLoop

let ringIsAvailable = (try? Ring(entries: 8)) != nil

/// A server on a ring of its own, turned by hand.
final class Desk {
  let ring: Ring
  let server: ControlServer
  private(set) var requests: [ControlRequest] = []
  private var time = monotonicNanoseconds()

  init(response: @escaping (ControlRequest) -> ControlResponse = { .text(200, "at \($0.path)\r\n") }) throws {
    ring = try Ring(entries: 64)
    server = try ControlServer(port: 0, insists: true)
    server.start(ring, kind: 1) { [unowned self] in
      requests.append($0)
      return response($0)
    }
  }

  /// Turns until `isDone`, for ten seconds at most.
  func turn(until isDone: () -> Bool) throws {
    let end = monotonicNanoseconds() + 10_000_000_000
    while !isDone() {
      try #require(monotonicNanoseconds() < end, "nothing came in ten seconds")
      ring.drain { server.complete($0, now: time) }
      ring.submitAndWait(nanoseconds: 1_000_000)
    }
  }

  /// Lets so much time pass for the server.
  func pass(seconds: UInt64) {
    time += seconds * 1_000_000_000
    server.expire(now: time)
  }
}

/// A connection to a desk that waits for nothing.
final class Caller {
  let fd: Int32
  private(set) var received = ""
  private(set) var isEnded = false

  init(_ desk: Desk) throws {
    fd = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = desk.server.port.bigEndian
    address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
    let status = withUnsafePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        connect(fd, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
      }
    }
    try #require(status == 0)
  }

  deinit { close(fd) }

  func send(_ text: String) {
    #expect(Glibc.send(fd, text, text.utf8.count, Int32(MSG_NOSIGNAL)) == text.utf8.count)
  }

  /// Takes what has come.
  func look() {
    var bytes = [UInt8](repeating: 0, count: 1 << 20)
    while !isEnded {
      let count = recv(fd, &bytes, bytes.count, Int32(MSG_DONTWAIT))
      if count > 0 { received += String(decoding: bytes[..<count], as: UTF8.self) }
      if count < 0 && errno == EAGAIN { return }
      isEnded = count <= 0
    }
  }

  /// The status of each answer that has come.
  var statuses: [String] {
    look()
    return received.split(separator: "\r\n").filter { $0.hasPrefix("HTTP/1.1 ") }.map {
      String($0.dropFirst(9).prefix(3))
    }
  }
}

@Suite(.enabled(if: ringIsAvailable, "io_uring is not available here"))
struct HTTPServerTests {
  @Test func `a request is told by method, path, query and headers`() throws {
    let desk = try Desk()
    let caller = try Caller(desk)
    caller.send(
      "POST /network/1/x?a=b&auth=t%20&c HTTP/1.1\r\nHost: h\r\nX-ZT1-Auth: secret\r\nContent-Length: 4\r\n\r\nbody")
    try desk.turn { !caller.statuses.isEmpty }
    let request = try #require(desk.requests.first)
    #expect(request.method == "POST" && request.path == ["network", "1", "x"])
    #expect(request.query == ["a": "b", "auth": "t%20", "c": ""])
    #expect(request.headers["x-zt1-auth"] == "secret" && request.body == Array("body".utf8))
    #expect(caller.received.hasSuffix("\r\n\r\nat [\"network\", \"1\", \"x\"]\r\n"), "\(caller.received)")
  }

  @Test func `requests in pieces, and several at once, are answered in order`() throws {
    let desk = try Desk()
    let caller = try Caller(desk)
    let text = (1...3).map { "GET /\($0) HTTP/1.1\r\nHost: h\r\n\r\n" }.joined()
    for byte in text.prefix(20) {
      let count = desk.ring.completionCount
      caller.send(String(byte))
      try desk.turn { desk.ring.completionCount > count }
    }
    caller.send(String(text.dropFirst(20)))
    try desk.turn { caller.statuses.count == 3 }
    #expect(desk.requests.map(\.path) == [["1"], ["2"], ["3"]])
    #expect(!caller.isEnded, "it is kept")
  }

  @Test(arguments: [
    ("nonsense\r\n\r\n", "400"), ("GET / HTTP/1.1\r\n: x\r\n\r\n", "400"),
    ("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 70000\r\n\r\n" + String(repeating: "x", count: 70_000), "413"),
    ("GET / HTTP/1.0\r\n\r\n", "200"), ("GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", "200"),
  ])
  func `what cannot go on ends behind its answer`(text: String, status: String) throws {
    let desk = try Desk()
    let caller = try Caller(desk)
    caller.send(text)
    try desk.turn {
      caller.look()
      return caller.isEnded
    }
    #expect(caller.statuses == [status])
  }

  @Test func `an answer larger than the socket's buffers arrives whole`() throws {
    let body = String(repeating: "0123456789abcdef", count: 1 << 19)
    let desk = try Desk { _ in .text(200, body) }
    let caller = try Caller(desk)
    caller.send("GET / HTTP/1.0\r\n\r\n")
    try desk.turn {
      caller.look()
      return caller.isEnded
    }
    #expect(caller.received.hasSuffix("\r\n\r\n" + body))
  }

  @Test func `HEAD has no body`() throws {
    let desk = try Desk()
    let caller = try Caller(desk)
    caller.send("HEAD / HTTP/1.0\r\n\r\n")
    try desk.turn {
      caller.look()
      return caller.isEnded
    }
    #expect(caller.received.hasSuffix("\r\n\r\n") && caller.received.contains("content-length: 7"))
  }

  @Test func `who says nothing, and who does not read, is not waited for`() throws {
    let desk = try Desk { _ in .text(200, String(repeating: "x", count: 16 << 20)) }
    let (silent, slow, deaf) = (try Caller(desk), try Caller(desk), try Caller(desk))
    slow.send("GET / HT")
    deaf.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
    try desk.turn { desk.requests.count == 1 }
    #expect(desk.server.deadline != nil)
    desk.pass(seconds: 30)
    try desk.turn {
      for caller in [silent, slow, deaf] { caller.look() }
      return silent.isEnded && slow.isEnded && deaf.isEnded
    }
    #expect(desk.server.deadline == nil, "nobody is left")
  }

  @Test func `many connections take the places of the oldest`() throws {
    let desk = try Desk()
    var idle: [Caller] = []
    for _ in 0..<(3 * ControlServer.connectionLimit) {
      let count = desk.ring.completionCount
      idle.append(try Caller(desk))
      try desk.turn { desk.ring.completionCount > count }
    }
    var caller = try Caller(desk)
    var isSent = false
    try desk.turn {
      if caller.isEnded { (caller, isSent) = (try! Caller(desk), false) }  // its coming has ended another
      if !isSent { caller.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n") }
      isSent = true
      return !caller.statuses.isEmpty
    }
    #expect(caller.statuses == ["200"])
  }

  @Test func `a taken port is said, or another is chosen`() throws {
    let first = try ControlServer(port: 0, insists: true)
    let error = #expect(throws: ControlError.self) { try ControlServer(port: first.port, insists: true) }
    #expect(error?.description.contains("-p") == true)
    let other = try ControlServer(port: first.port, insists: false)
    #expect(other.port != first.port)
  }
}
