internal import DequeModule
internal import Glibc
internal import LwipGlue
internal import NetcondRPC
internal import Slab

/// What an intercepted socket is, and who may change it.
enum SocketState {
  /// Made by socket(): may be bound, connected or made to listen. The app's end is not writable.
  case new
  /// connect() was called. The daemon borrows the app's end for as long as most connects take.
  case connecting
  /// Bytes flow between the pair and the stack's connection.
  case connected
  /// Accepted connections go out on the pair.
  case listening
  /// Over. The descriptor is closed when the last operation on it has completed.
  case closing
}

/// Operations of the ring that a socket may have under way.
struct SocketOperations: OptionSet {
  let rawValue: UInt8
  static let receive = SocketOperations(rawValue: 1)
  static let send = SocketOperations(rawValue: 2)
  /// Waits for the last app end to close.
  static let hangUp = SocketOperations(rawValue: 4)
  /// Waits for room for an accept record.
  static let writable = SocketOperations(rawValue: 8)
  /// Waits for bytes, where a receive that waits itself would lose an urgent one.
  static let readable = SocketOperations(rawValue: 16)
  /// The app's end is looked for (`AppEnds`): nothing of the ring's.
  static let search = SocketOperations(rawValue: 32)
}

/// The two ways a connection ends from this side.
enum Ending {
  /// FIN behind all that was written.
  case inOrder
  /// RST.
  case reset
}

/// What programs do with a listener's connections at the cost of a request each time.
struct Habits {
  /// Connections whose TCP_NODELAY was set; how many make it a habit.
  var noDelay = 0
  static let leastNoDelay = 4
  /// Times that TCP_CORK was set, be it once on each of many connections.
  var corks = 0
  static let leastCorks = 16
}

/// An accepted connection on its way to the app.
struct PendingAccept {
  let appEnd: Int32
  let record: nc_accept_record
}

/// One intercepted socket. Lives from the RPC that makes it (or from an accept) until the last app end has closed and
/// all its operations have completed; what its connection still has to deliver then goes on inside the stack.
struct Socket: ~Copyable {
  let id: UInt64
  let network: Int
  /// AF_INET or AF_INET6, as the app asked.
  let family: Int32
  /// The daemon's end.
  let fd: Int32
  /// SO_COOKIE of the app's end, by which RPCs find the socket.
  let cookie: UInt64
  var state = SocketState.new
  var operations: SocketOperations = []
  /// The wait for a hang-up goes on after each sign of one.
  var repeatsHangUp = false
  var fillerBytes = 0
  var local: Endpoint?
  var remote: Endpoint?
  /// What getsockname() tells of a socket that is not bound any more: where it spoke from before.
  var formerLocal: Endpoint?
  /// The port is entered in the network's table.
  var boundPort: UInt16?
  /// Address and port where they are the app's own choice: these outlive a failed connect.
  var boundAddress: IPAddress?
  var choosesPort = false
  var connection: SlabKey?
  /// The stack's listener; of several that share a port (SO_REUSEPORT) the first one has it, and the keys of all.
  var listener: SlabKey?
  var sharers: [SlabKey] = []
  /// The host's socket that stands behind this one instead of a connection or listener of the stack.
  var host: HostSocket?
  /// What the app has set, for a host's socket made later; kept only where the network's policy allows one.
  var hostOptions: [HostOption] = []
  /// The app's end: of a socket made ahead until the app makes a request of it, and while a connect has been pending for a moment only;
  /// else -1.
  var borrowedEnd: Int32 = -1
  var options: SocketOptions
  var backlog = 0
  var acceptQueue: Deque<PendingAccept> = []
  /// Of a listener; and the listener of an accepted connection, which may be gone.
  var habits = Habits()
  var acceptedBy: SlabKey?
  /// What lies in the pair already is taken before a part of a segment is sent.
  var coalesces = false
  /// Which socket the app's end is, in /proc/PID/fd, and the process that asked for it (or for its listener).
  var appInode: UInt = 0
  var appProcess: Int32 = 0
  /// Made ahead, and not known to be taken by an app.
  var isPrepared = false
  /// The client it was made ahead for, by its number; 0: none.
  var preparedFor: UInt64 = 0
  /// The daemon's end has the name of the connection.
  var isNamed = false
  /// No app holds its end any more.
  var isAbandoned = false
  /// Made by an accept, with the byte in front that tells whether an app has taken it.
  var isOffered = false
  /// What the app is to find instead of end of file: an errno, or 0.
  var appError: Int32 = 0
  /// Received from the app and not yet taken by the stack, with a reference of the buffer it lies in; and a block behind it.
  var pending: (address: UnsafeRawPointer, count: Int)?
  var pendingBlock: (address: UnsafeRawPointer, count: Int)?
  /// Shared send memory (`ArenaTable`): the pair may hold markers.
  var arena: Int?
  /// Where the message of the send under way lives.
  var sendSlot: Int?
  /// The pair holds more towards the app than at first.
  var isWide = false
  /// The app has sent urgent data, or is about to; and bytes are there to be received.
  var sendsUrgent = false
  var isReadable = false
  /// The app writes no more: FIN was sent, or will be behind what is pending.
  var appEnded = false
  /// The peer's FIN came; the pair is shut down towards the app when all bytes are delivered.
  var peerEnded = false
  var peerEndDelivered = false
  /// The connection is over; the pair closes when all bytes are delivered.
  var connectionLost = false
  /// The app reads no more (SHUT_RD): what arrives is dropped, as Linux does.
  var discards = false
  /// How the connection is to end once the send under way, which reads its memory, has completed.
  var ending: Ending?
  /// The daemon ends: bytes already written by the app still go out, then FIN.
  var drains = false

  init(id: UInt64, network: Int, family: Int32, fd: Int32, cookie: UInt64) {
    self.id = id
    self.network = network
    self.family = family
    self.fd = fd
    self.cookie = cookie
    options = SocketOptions(SocketKind(transport: .stream, isV6: family == AF_INET6))
  }
}
