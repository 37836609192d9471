internal import FoundationEssentials

/// GET /status: the original's fields, and what this daemon has to tell beside them.
struct StatusDocument: Codable {
  /// Ten hexadecimal digits, from the home's identity.
  var address: String
  var publicIdentity: String
  /// Frames pass on the link of at least one network.
  var online: Bool
  var tcpFallbackActive = false
  var versionMajor: Int
  var versionMinor: Int
  var versionRev: Int
  var version: String
  /// Milliseconds since 1970.
  var clock: Int64
  var netcond: Daemon

  struct Daemon: Codable {
    var home: String
    var pid: Int32
    var uptimeSeconds: Double
    var controlPort: Int
    var ioUring: String
    var lwip: String
    var busyPoll: Bool
    var networks: Int
    var programs: Int
    /// Sockets that programs hold, and those that are made ahead for them.
    var streamSockets: Int
    var datagramSockets: Int
    var preparedSockets: Int
    /// In the stack; they may outlive their sockets.
    var connections: Int
    var descriptorLimit: Int
    var frameBuffers: Buffers
    var sendBuffers: Buffers
    var counters: [String: UInt64]
  }

  struct Buffers: Codable {
    var free: Int
    var total: Int
    var bytes: Int
  }
}

/// GET /config: what the daemon was started with.
struct ConfigDocument: Codable {
  var settings: Settings

  struct Settings: Codable {
    var port: Int
    var home: String
    var busyPoll: Bool
    var socketLimit: Int
    var programLimit: Int
  }
}

/// GET /network/<16 hexadecimal digits>: the original's fields, and what this daemon has to tell beside them.
struct NetworkDocument: Codable {
  var nwid: String
  var mac: String
  /// The wire, as in the network's file.
  var name: String
  /// `OK`, or `REQUESTING_CONFIGURATION` while an address is waited for, or `PORT_ERROR` where frames do not pass.
  var status: String
  var type = "PRIVATE"
  var mtu: Int
  var dhcp: Bool
  var bridge = false
  var broadcastEnabled = true
  /// 0, or -1 with PORT_ERROR.
  var portError: Int
  var netconfRevision = 0
  /// Groups that programs have joined, as addresses.
  var multicastSubscriptions: [String]
  var assignedAddresses: [String]
  /// The socket that programs come to: what ZT_NC_NETWORK holds.
  var portDeviceName: String
  var netcond: Details

  struct Details: Codable {
    var file: String
    var offloads: Bool
    var routes: [String]
    var nameServers: [String]
    var searchDomains: [String]
    var outside: String
    var loopback: String
    var impairIn: String?
    var impairOut: String?
    var programs: Int
    /// Stream sockets by Linux's names of their states; datagram sockets as UDP and ICMP.
    var sockets: [String: Int]
    var counters: [String: UInt64]
  }
}

/// GET /netcond/sockets: some of the sockets, in the order of their places.
struct SocketsDocument: Codable {
  /// How many there are, on all pages.
  var total: Int
  /// What to give as `after` for the next page; nil on the last one.
  var next: Int?
  var sockets: [SocketDocument]
}

struct SocketDocument: Codable {
  var id: UInt64
  var network: String
  /// tcp, udp or icmp.
  var `protocol`: String
  /// Linux's names, as ss(8) has them.
  var state: String
  var local: String
  var peer: String?
  /// Who asked for it, or for its listener; it may have handed it on.
  var pid: Int32?
  /// Bytes that wait for the program in the daemon (what lies in its socket already is not among them); of a listener:
  /// connections not accepted.
  var receiveQueue: Int
  /// Bytes not acknowledged; of a listener: the backlog.
  var sendQueue: Int
  /// Behind it stands a socket of the host's.
  var isOutside: Bool
  /// Of a connection: microseconds, and the congestion window in bytes.
  var roundTripMicroseconds: Int?
  var congestionWindow: Int?
  /// Of a datagram socket: what its program had no room for.
  var drops: UInt64?
}

/// What a request that failed is answered with.
struct ErrorDocument: Codable {
  var error: String
}

/// Success of what has nothing to show.
struct ResultDocument: Codable {
  var result: Bool
}
