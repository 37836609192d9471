internal import Glibc
internal import Synchronization

/// What must not outlive this process: children, namespaces, folders. Owners register what they make and remove it
/// themselves; what is left when the process exits, or when a signal ends it, is removed here.
///
/// Only what was registered is touched: processes by their id, namespaces and folders by their unique names.
public enum Cleanup {
  struct State {
    var processes: Set<pid_t> = []
    var namespaces: Set<String> = []
    var folders: Set<String> = []
    var isArmed = false
    /// The thread that ends this process because of a signal.
    var ending: pthread_t?
    var isEmpty: Bool { processes.isEmpty && namespaces.isEmpty && folders.isEmpty }
  }
  private static let state = Mutex(State())

  /// Starts a process and registers it, with no moment in between.
  static func process(_ start: () throws -> pid_t) throws -> pid_t {
    var process: pid_t = -1
    var problem: (any Error)?
    update { state in
      do {
        process = try start()
        state.processes.insert(process)
      } catch { problem = error }
    }
    if let problem { throw problem }
    return process
  }
  static func remove(process: pid_t) { state.withLock { _ = $0.processes.remove(process) } }
  static func add(namespace: String) { update { $0.namespaces.insert(namespace) } }
  static func remove(namespace: String) { state.withLock { _ = $0.namespaces.remove(namespace) } }
  static func add(folder: String) { update { $0.folders.insert(folder) } }
  static func remove(folder: String) { state.withLock { _ = $0.folders.remove(folder) } }

  private static func update(_ change: (inout State) -> Void) {
    var isOver = false
    state.withLock { state in
      change(&state)
      if let ending = state.ending { isOver = pthread_equal(ending, pthread_self()) == 0 }
      guard !state.isArmed else { return }
      state.isArmed = true
      atexit { Cleanup.removeAll() }
      watchSignals()
    }
    // A signal ends this process: what was just made is registered, and its thread makes nothing more.
    while isOver { pause() }
  }

  /// Kills and removes everything registered. Safe to call twice.
  public static func removeAll() {
    let left = state.withLock { state in
      defer { state = State(isArmed: state.isArmed, ending: state.ending) }
      return state
    }
    for process in left.processes {
      kill(process, SIGKILL)
      waitpid(process, nil, 0)
    }
    for namespace in left.namespaces { _ = try? run(Command("ip", ["netns", "del", namespace]), seconds: 10) }
    for folder in left.folders { _ = try? run(Command("rm", ["-rf", folder]), seconds: 30) }
  }

  /// Removes everything for a signal: the other threads may each make one thing more, and go no further.
  private static func endAll() {
    var isEmpty = false
    state.withLock { $0.ending = pthread_self() }
    while !isEmpty {
      removeAll()
      state.withLock { isEmpty = $0.isEmpty }
    }
  }

  /// The end of the pipe that the signal handler writes to; set once, before the handler is installed.
  nonisolated(unsafe) private static var signalPipe: Int32 = -1

  /// INT, TERM and HUP remove everything, then end the process with 128 + the signal's number. The handler only writes
  /// a byte (signal-safety(7)); a thread of its own does the work.
  private static func watchSignals() {
    guard let pipe = try? Pipe() else { return }
    signalPipe = pipe.write
    var thread = pthread_t()
    let reading = UnsafeMutableRawPointer(bitPattern: Int(pipe.read))
    let isStarted = pthread_create(
      &thread, nil,
      { reading in
        var number: UInt8 = 0
        guard read(Int32(Int(bitPattern: reading)), &number, 1) == 1 else { return nil }
        Cleanup.endAll()
        _exit(128 + Int32(number))
      }, reading)
    guard isStarted == 0 else { return }
    pthread_detach(thread)
    for number in [SIGINT, SIGTERM, SIGHUP] {
      signal(number) { number in
        var byte = UInt8(truncatingIfNeeded: number)
        _ = write(Cleanup.signalPipe, &byte, 1)
      }
    }
  }
}
