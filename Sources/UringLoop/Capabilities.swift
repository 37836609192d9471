internal import CUring
internal import Glibc

/// What the running kernel's io_uring offers beyond Linux 6.1, which is the least that is supported.
public struct Capabilities: Sendable, CustomStringConvertible {
  /// IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN (Linux 6.1): completions run when the loop asks.
  public internal(set) var deferTaskrun = false
  /// IORING_OP_READ_MULTISHOT (Linux 6.7): one submission reads many frames.
  public internal(set) var readMultishot = false

  /// A least time to wait (IORING_FEAT_MIN_TIMEOUT, Linux 6.12): completions gather meanwhile.
  public internal(set) var leastWait = false

  /// Where to stop probing; `baseline` uses nothing newer than Linux 6.1, to test the fallbacks on a newer kernel.
  public enum Limit: Sendable { case newest, baseline }

  /// Everything that is made use of is there.
  public var isComplete: Bool { deferTaskrun && readMultishot && leastWait }

  public var description: String {
    func word(_ name: String, _ present: Bool) -> String { (present ? "" : "no ") + name }
    return [
      word("deferred task work", deferTaskrun), word("multishot read", readMultishot), word("least wait", leastWait),
    ].joined(separator: ", ")
  }
}

/// Why a ring could not be made, with what to do about it.
public struct RingError: Error, CustomStringConvertible, Sendable {
  public let description: String
  /// The errno behind it, positive.
  public let code: Int32

  init(_ what: String, code: Int32) {
    self.code = code
    let cause = String(cString: strerror(code))
    let cure =
      switch code {
      case ENOSYS: "the kernel has no io_uring: Linux 6.1 or newer is needed"
      case EPERM, EACCES:
        "io_uring is forbidden here: allow it in /proc/sys/kernel/io_uring_disabled or in the container's seccomp profile"
      case ENOMEM: "memory for the ring cannot be locked: raise RLIMIT_MEMLOCK"
      case EMFILE, ENFILE: "no descriptor is left: raise RLIMIT_NOFILE"
      default: "see io_uring_setup(2)"
      }
    description = "\(what): \(cause); \(cure)"
  }
}
