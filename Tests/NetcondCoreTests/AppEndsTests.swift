import Glibc
@testable import NetcondCore
import Slab
import Testing
import UringLoop

@Suite("apps' ends are found in the processes that hold them", .timeLimit(.minutes(1))) struct AppEndsTests {
  /// A pair of this process's; what is left open of it is closed with its owner.
  private final class Ends {
    private(set) var app: Int32 = -1
    private(set) var daemon: Int32 = -1
    let inode: UInt

    init() throws {
      var ends: [Int32] = [-1, -1]
      try #require(socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0, &ends) == 0)
      (app, daemon) = (ends[0], ends[1])
      inode = AppEndsTests.inode(app)
    }

    deinit {
      closeApp()
      close(daemon)
    }

    func closeApp() {
      if app >= 0 { close(app) }
      app = -1
    }
  }

  /// A program that holds a descriptor, and does nothing.
  private final class Holder {
    let process: pid_t

    init(_ ends: Ends) throws {
      var actions = posix_spawn_file_actions_t()
      posix_spawn_file_actions_init(&actions)
      defer { posix_spawn_file_actions_destroy(&actions) }
      posix_spawn_file_actions_adddup2(&actions, ends.app, 9)
      var arguments = [strdup("sleep"), strdup("60"), nil]
      defer { for argument in arguments { free(argument) } }
      var process: pid_t = 0
      try #require(posix_spawnp(&process, "sleep", &actions, nil, &arguments, environ) == 0)
      self.process = process
      ends.closeApp()
    }

    deinit {
      kill(process, SIGKILL)
      waitpid(process, nil, 0)
    }
  }

  private static func inode(_ fd: Int32) -> UInt {
    var status = stat()
    return fstat(fd, &status) == 0 ? status.st_ino : 0
  }

  private func request(
    _ ends: Ends, process: Int32 = getpid(), searchesAll: Bool = true, owner: UInt64 = 1
  ) -> AppEnds.Request {
    AppEnds.Request(
      socket: SlabKey(bits: owner), purpose: .error, inode: ends.inode, process: process, searchesAll: searchesAll)
  }

  /// Searches until all is answered; the inodes of what was found, by owner, and the turns that it took.
  private func answers(
    _ search: inout AppEnds, isOver: (AppEnds.Request) -> Bool = { _ in false }
  ) -> (
    inodes: [UInt64: UInt], unfound: [UInt64], turns: Int
  ) {
    var (inodes, unfound, turns) = ([UInt64: UInt](), [UInt64](), 0)
    while let deadline = search.deadline {
      while monotonicNanoseconds() < deadline { sched_yield() }
      turns += 1
      for (request, end) in search.advance(isOver: isOver) {
        if let end {
          inodes[request.socket.bits] = Self.inode(end)
          close(end)
        } else {
          unfound.append(request.socket.bits)
        }
      }
    }
    return (inodes, unfound, turns)
  }

  @Test func `in the process that is named`() throws {
    let ends = try Ends()
    var search = AppEnds()
    #expect(search.deadline == nil)
    search.ask(request(ends, searchesAll: false))
    #expect(answers(&search).inodes == [1: ends.inode])
  }

  @Test func `one that nobody has is not found, and nothing is searched for any more`() throws {
    let ends = try Ends()
    ends.closeApp()
    var search = AppEnds()
    search.ask(request(ends))
    let answer = answers(&search)
    #expect(answer.inodes.isEmpty)
    #expect(answer.unfound == [1])
    #expect(search.deadline == nil)
    let more = search.advance { _ in false }
    #expect(more.isEmpty)
  }

  @Test func `in another process, which is then asked before all are`() throws {
    let (first, second, third) = (try Ends(), try Ends(), try Ends())
    let holders = (try Holder(first), try Holder(second))
    var search = AppEnds()
    search.ask(request(first, searchesAll: false))
    #expect(answers(&search).unfound == [1])
    search.ask(request(first))
    #expect(answers(&search).inodes == [1: first.inode])
    search.ask(request(first, searchesAll: false, owner: 2))
    search.ask(request(second, searchesAll: false, owner: 3))
    search.ask(request(third, searchesAll: false, owner: 4))
    let answer = answers(&search)
    #expect(answer.inodes == [2: first.inode, 4: third.inode])
    #expect(answer.unfound == [3])
    #expect(holders.0.process != holders.1.process)
  }

  @Test func `a listing made before an end was there is no proof that it is nowhere`() throws {
    let early = try Ends()
    var search = AppEnds()
    search.ask(request(early, searchesAll: false))
    #expect(answers(&search).inodes == [1: early.inode])
    let late = try Ends()
    search.ask(request(late, searchesAll: false, owner: 2))
    #expect(answers(&search).inodes == [2: late.inode])
  }

  @Test func `a process with many descriptors takes many turns, and serves all that wait`() throws {
    let ends = try Ends()
    let another = try Ends()
    let copies = (0..<500).map { _ in dup(STDIN_FILENO) }
    defer { for copy in copies { close(copy) } }
    var search = AppEnds()
    search.ask(request(ends, searchesAll: false))
    search.ask(request(another, searchesAll: false, owner: 2))
    let answer = answers(&search)
    #expect(answer.inodes == [1: ends.inode, 2: another.inode])
    #expect(answer.turns >= 5, "\(answer.turns) turns for more than 500 descriptors, 100 in each")
  }

  @Test func `of many requests a turn answers some`() throws {
    let ends = try Ends()
    var search = AppEnds()
    for owner in 1...150 { search.ask(request(ends, searchesAll: false, owner: UInt64(owner))) }
    let answer = answers(&search)
    #expect(answer.inodes.count == 150)
    #expect(answer.inodes.values.allSatisfy { $0 == ends.inode })
    #expect(answer.turns >= 3, "\(answer.turns) turns for 150 requests, 64 in each")
  }

  @Test func `what nobody waits for is answered without a search`() throws {
    let ends = try Ends()
    var search = AppEnds()
    search.ask(request(ends))
    search.ask(request(ends, owner: 2))
    let answer = answers(&search) { $0.socket.bits == 1 }
    #expect(answer.inodes == [2: ends.inode])
    #expect(answer.unfound == [1])
  }

  @Test func `at once, where that is asked for`() throws {
    let ends = try Ends()
    let gone = try Ends()
    gone.closeApp()
    var search = AppEnds()
    let found = search.borrow(inode: ends.inode, process: getpid())
    #expect(found.map(Self.inode) == ends.inode)
    if let found { close(found) }
    let none = search.borrow(inode: gone.inode, process: getpid())
    #expect(none == nil)
  }
}
