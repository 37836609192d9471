internal import CSocket
internal import DequeModule
internal import Glibc
internal import NetcondRPC
internal import Slab
internal import UringLoop

/// Finds apps' ends again in the processes that hold them.
///
/// Theory of operation: the daemon keeps no copy of an app's end (docs/rpc.md), because that would hide that the app has
/// closed it. A few times it needs one for a moment. To make it report ECONNRESET: a unix socket gives its peer that only where
/// it is closed with bytes unread (unix_release_sock in net/unix/af_unix.c); a connection that the peer reset often has
/// none, and closed like that it would look to the app like an orderly end, and a cut transfer like a whole one. And to
/// give it its full send buffer when a connect has succeeded after a while.
///
/// So it looks: in the process that made the socket, in those that held others, and then in all. As that may take long, the
/// loop looks for a moment in a turn (`advance`), lists for a fifth of the time at most, and one listing of a process's
/// descriptors serves all that wait. Where tracing is not permitted, the app sees an end of file, or has a small send buffer.
struct AppEnds {
  /// What is looked for on behalf of a socket.
  struct Request {
    enum Purpose {
      /// It is to report the error of a socket that closes.
      case error
      /// It is to have its full send buffer.
      case sendBuffer
    }

    let socket: SlabKey
    let purpose: Purpose
    /// Of the app's end.
    let inode: UInt
    /// Where to look first.
    let process: Int32
    /// Look in all other processes as well.
    let searchesAll: Bool
    /// When it was asked for, in nanoseconds of the monotonic clock.
    let time = monotonicNanoseconds()
  }

  /// Requests that are looked at in one go: half a millisecond, if all are found.
  private static let sliceRequests = 64
  /// Descriptors that are looked at in one go: a tenth to a fifth of a millisecond.
  private static let sliceDescriptors = 32
  /// How many times as long as listing took is to pass then.
  private static let pause: UInt64 = 4
  /// Nanoseconds after which nothing is expected of a search any more, nor of a listing.
  private static let patience: UInt64 = 2_000_000_000
  /// Nanoseconds that `borrow` may take in any second.
  private static let borrowLimit: UInt64 = 200_000_000
  private static let holderLimit = 16
  /// Stands for all processes where one is named by its number.
  private static let everywhere: Int32 = 0

  private enum Finding {
    case found(Int32)
    case absent
    /// Nothing is known before there is a new listing of this process.
    case needs(Int32)
  }

  /// Not looked at since the last listing.
  private var requests: Deque<Request> = []
  /// For a listing of `needed`, or another one after that.
  private var waiting: Deque<Request> = []
  private var needed: Int32?
  /// By process. What is found is verified before use.
  private var listings: [Int32: DescriptorWalk] = [:]
  /// Of `needed`, under way.
  private var current: DescriptorWalk?
  /// Where app's ends were found, the last one first.
  private var holders: [Int32] = []
  private var nextSlice: UInt64 = 0
  /// Of `borrow`: the second, and what it took in that one.
  private var borrowed: (second: UInt64, nanoseconds: UInt64) = (0, 0)

  /// When `advance` has something to do, on the monotonic clock; nil: nothing is asked for.
  var deadline: UInt64? { !requests.isEmpty ? 0 : waiting.isEmpty ? nil : nextSlice }

  mutating func ask(_ request: Request) { requests.append(request) }

  /// Searches on for a moment.
  /// - Parameter isOver: whether nobody waits for the outcome any more.
  /// - Returns: the requests that are answered, with copies of the apps' ends, which the caller closes; nil where there is none.
  mutating func advance(isOver: (Request) -> Bool) -> [(request: Request, end: Int32?)] {
    var answered: [(request: Request, end: Int32?)] = []
    var (requestsLeft, descriptorsLeft) = (Self.sliceRequests, Self.sliceDescriptors)
    while descriptorsLeft > 0 {
      while requestsLeft > 0, let request = requests.popFirst() {
        requestsLeft -= 1
        let isLate = monotonicNanoseconds() > request.time + Self.patience
        switch isLate || isOver(request) ? .absent : find(request) {
        case .found(let end): answered.append((request, end))
        case .absent: answered.append((request, nil))
        case .needs(let process):
          needed = needed ?? process
          waiting.append(request)
        }
      }
      guard requests.isEmpty, !waiting.isEmpty, monotonicNanoseconds() >= nextSlice else { break }
      walk(&descriptorsLeft)
    }
    return answered
  }

  /// Lists on; what has waited for a listing is looked at again when it is whole.
  private mutating func walk(_ descriptors: inout Int) {
    guard let needed else { preconditionFailure("requests wait for no process") }
    let walk = current ?? makeWalk(needed, for: Array(waiting))
    current = walk
    let start = monotonicNanoseconds()
    if walk.advance(&descriptors) {
      listings[needed] = walk
      (current, self.needed) = (nil, nil)
      swap(&requests, &waiting)
    }
    let end = monotonicNanoseconds()
    nextSlice = end + (end - start) * Self.pause
  }

  /// A copy of an app's end at once, which the caller closes; nil where it is not found, or has not been in time.
  mutating func borrow(inode: UInt, process: Int32) -> Int32? {
    let start = monotonicNanoseconds()
    if start / 1_000_000_000 != borrowed.second { borrowed = (start / 1_000_000_000, 0) }
    let limit = start + Self.borrowLimit - min(Self.borrowLimit, borrowed.nanoseconds)
    defer { borrowed.nanoseconds += monotonicNanoseconds() - start }
    let request = Request(
      socket: SlabKey(bits: 0), purpose: .error, inode: inode, process: process, searchesAll: true)
    while true {
      switch find(request) {
      case .found(let end): return end
      case .absent: return nil
      case .needs(let process):
        let walk = makeWalk(process, for: [request])
        var isOver = false
        while !isOver {
          guard monotonicNanoseconds() < limit else { return nil }
          var descriptors = Self.sliceDescriptors
          isOver = walk.advance(&descriptors)
        }
        listings[process] = walk
      }
    }
  }

  private mutating func makeWalk(_ process: Int32, for requests: [Request]) -> DescriptorWalk {
    let oldest = monotonicNanoseconds() - Self.patience
    listings = listings.filter { $0.value.time > oldest }
    guard process == Self.everywhere else { return DescriptorWalk(process: process) }
    return DescriptorWalk(wanted: Set(requests.map(\.inode)))
  }

  private mutating func find(_ request: Request) -> Finding {
    let others = holders.filter { $0 != request.process }
    for process in [request.process] + others + (request.searchesAll ? [Self.everywhere] : []) {
      guard let listing = listings[process] else { return .needs(process) }
      if let spot = listing.sockets[request.inode], let end = Self.take(request.inode, at: spot) {
        note(holder: spot.process)
        return .found(end)
      }
      if listing.time < request.time { return .needs(process) }
    }
    return .absent
  }

  private static func take(_ inode: UInt, at spot: DescriptorWalk.Spot) -> Int32? {
    let end = nc_borrow_descriptor(spot.process, spot.number)
    guard end >= 0 else { return nil }
    guard nc_socket_inode(end) == inode else {  // closed and used again meanwhile
      close(end)
      return nil
    }
    return end
  }

  private mutating func note(holder process: Int32) {
    if holders.first == process { return }
    holders.removeAll { $0 == process }
    holders.insert(process, at: 0)
    if holders.count > Self.holderLimit { holders.removeLast() }
  }
}
