internal import Glibc

/// POSIX threads that run a closure.
enum Threads {
  private final class Body {
    let run: @Sendable () -> Void
    init(_ run: @escaping @Sendable () -> Void) { self.run = run }
  }

  private static let entry: @convention(c) (UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? = { argument in
    if let argument { Unmanaged<Body>.fromOpaque(argument).takeRetainedValue().run() }
    return nil
  }

  /// Starts a thread nobody waits for. Returns false when there can be none (EAGAIN).
  static func detach(_ run: @escaping @Sendable () -> Void) -> Bool {
    guard let thread = start(run) else { return false }
    pthread_detach(thread)
    return true
  }

  /// Runs the closure once per index, each in its own thread, and waits for all.
  static func forEach(_ count: Int, _ run: @escaping @Sendable (Int) -> Void) {
    let threads = (0..<count).map { index in start { run(index) } }
    for thread in threads { if let thread { pthread_join(thread, nil) } }
  }

  private static func start(_ run: @escaping @Sendable () -> Void) -> pthread_t? {
    var thread = pthread_t()
    let body = Unmanaged.passRetained(Body(run))
    guard pthread_create(&thread, nil, entry, body.toOpaque()) == 0 else {
      body.release()
      return nil
    }
    return thread
  }
}
