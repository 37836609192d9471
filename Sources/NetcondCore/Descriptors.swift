internal import CSocket
internal import Glibc

/// Descriptors in messages (SCM_RIGHTS, unix(7)).
package enum Descriptors {
  /// Sends `value` as one message with a descriptor, without waiting. Returns 0 or a negated errno.
  package static func send<Value>(_ fd: Int32, _ value: Value, passing descriptor: Int32?) -> Int32 {
    var value = value
    return withUnsafeMutableBytes(of: &value) {
      nc_send_with_fd(fd, $0.baseAddress, $0.count, descriptor ?? -1)
    }
  }
}
