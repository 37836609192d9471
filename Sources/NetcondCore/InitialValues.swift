internal import Glibc

/// The options' values before they are set, in one table: a connection asks for two dozens of them when it begins.
struct InitialValues {
  private static let levels = [SOL_SOCKET, Int32(IPPROTO_IP), Int32(IPPROTO_TCP), Int32(IPPROTO_IPV6)]
  private static let nameLimit = 128
  /// By kind, then level, then name.
  private let table: [Int32]

  /// - Parameter value: the initial value of an option for a kind of sockets.
  init(_ value: (SocketOptions.Key, SocketKind) -> Int32) {
    var table: [Int32] = []
    for isV6 in [false, true] {
      for transport in SocketKind.Transport.allCases {
        for level in Self.levels {
          for name in 0..<Self.nameLimit {
            let key = SocketOptions.Key(level: level, name: Int32(name))
            table.append(value(key, SocketKind(transport: transport, isV6: isV6)))
          }
        }
      }
    }
    self.table = table
  }

  /// nil for what is not in the table.
  subscript(_ key: SocketOptions.Key, _ kind: SocketKind) -> Int32? {
    guard let level = Self.levels.firstIndex(of: key.level), (0..<Self.nameLimit).contains(Int(key.name)) else {
      return nil
    }
    let kinds = (kind.isV6 ? SocketKind.Transport.allCases.count : 0) + kind.transport.rawValue
    return table[(kinds * Self.levels.count + level) * Self.nameLimit + Int(key.name)]
  }
}
