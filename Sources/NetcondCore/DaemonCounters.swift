/// What happened since the daemon started.
struct DaemonCounters {
  /// Connections taken from peers.
  var accepted: UInt64 = 0
  /// Connections made for apps.
  var connected: UInt64 = 0
  /// Connections between two programs of one network, without the daemon.
  var direct: UInt64 = 0
  /// SYNs dropped because a listener's backlog was full.
  var backlogDrops: UInt64 = 0
  /// Resets and other ends by an error that apps could not be told: to them they look orderly.
  var untoldErrors: UInt64 = 0
  /// RPC connections closed for breaking the protocol.
  var protocolErrors: UInt64 = 0
  /// RPCs refused at a limit.
  var refusals: UInt64 = 0
  /// Datagrams and errors given to apps; those that an app's end had no room for.
  var deliveredDatagrams: UInt64 = 0
  var droppedDatagrams: UInt64 = 0
  /// What apps wrote that could not be sent after all, or was no datagram.
  var unsentDatagrams: UInt64 = 0
  var malformedDatagrams: UInt64 = 0
}
