import Glibc
import Testing
import UringLoop

/// Whether this machine lets a program have a ring at all.
let ringIsAvailable: Bool = (try? Ring(entries: 2)) != nil

extension Ring {
  /// Submits, and collects completions until there are `count` of them; a lost one ends the wait after `seconds`.
  func completions(_ count: Int, seconds: UInt64 = 10) -> [Completion] {
    var all: [Completion] = []
    let deadline = monotonicNanoseconds() + seconds * 1_000_000_000
    while all.count < count, monotonicNanoseconds() < deadline {
      submitAndWait(nanoseconds: 100_000_000)
      drain { all.append($0) }
    }
    return all
  }

  /// What has completed without waiting.
  func completionsSoFar() -> [Completion] {
    var all: [Completion] = []
    submit()
    drain { all.append($0) }
    return all
  }
}

/// Two connected stream sockets, closed with their owner.
final class SocketPair {
  private(set) var ends: [Int32] = [-1, -1]

  init() {
    precondition(socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0, &ends) == 0)
  }
  deinit { for end in ends where end >= 0 { Glibc.close(end) } }

  func close(_ index: Int) {
    Glibc.close(ends[index])
    ends[index] = -1
  }

  func send(_ text: String) {
    let bytes = Array(text.utf8)
    precondition(Glibc.send(ends[1], bytes, bytes.count, Int32(MSG_NOSIGNAL)) == bytes.count)
  }
}

extension BufferPool {
  /// The text that a receive put into a buffer.
  func text(_ completion: Completion) -> String {
    guard let index = completion.bufferIndex, completion.result >= 0 else { return "" }
    return String(decoding: UnsafeRawBufferPointer(start: address(index), count: Int(completion.result)), as: UTF8.self)
  }
}

extension Token {
  static func test(_ operation: UInt8, _ owner: UInt64 = 0) -> Token {
    Token(kind: 1, operation: operation, owner: owner)
  }
}
