import TestSupport
import Testing

extension SystemTests {
  /// Programs that use no network do not notice the library: same output, same exit code, no descriptor more.
  @Suite struct Transparency {
    /// Runs `command` natively, with the library and no network, and on a network; compares all that comes out.
    private func check(_ command: (_ folder: String) -> Command) throws {
      let stage = try HubStage()
      func outcome(_ wrap: (Command) -> Command) throws -> [String] {
        let folder = try TemporaryFolder("t")
        let done = try run(wrap(command(folder.path)), seconds: 60)
        return [done.status.description, done.standardOutput, done.standardError].map {
          $0.split(separator: folder.path, omittingEmptySubsequences: false).joined(separator: "FOLDER")
        }
      }
      let native = try outcome { $0 }
      #expect(native.joined().isEmpty == false)
      #expect(try outcome { $0.with(environment: ["LD_PRELOAD": stage.binaries.library]) } == native)
      #expect(try outcome(stage.onLeft) == native)
    }

    @Test("sh: pipes, substitution, a loop, an exit code; descriptors seen by it and by its children")
    func shell() throws {
      let script = """
        for word in a b c; do echo "$word"; done | tr a-c x-z
        echo "$(ls /proc/self/fd | tr '\\n' ' ')" /proc/$$/fd/*[0-9] | sed "s/$$/PID/g"
        exec 5</dev/null; ls /proc/$$/fd; ls /proc/self/fd; (exec 5<&-; ls /proc/self/fd); nosuchcommand
        exit 7
        """
      try check { _ in Command("/bin/sh", ["-c", script]) }
      // The shell itself at its limits.
      try check { _ in Command("/bin/sh", ["-c", "ulimit -n 8; ls /proc/$$/fd; cat /nosuchfile; echo $?"]) }
      try check { _ in Command("/bin/sh", ["-c", "exec <&- >&- 2>&-; cat; exit 3"]) }
    }

    @Test("find")
    func find() throws {
      let root = Binaries.packageRoot
      try check { _ in Command("find", [root + "/Tests", "/nosuchfolder", "-name", "*.c", "-size", "+1", "-print0"]) }
      try check { _ in Command("find", ["/proc/self/fd", "-mindepth", "1", "-printf", "%f %y\\n"]) }
      try check { _ in Command("find", [root + "/Tests", "-name", "*.py", "-exec", "wc", "-l", "{}", "+"]) }
    }

    @Test("gcc: the object's text, and an error's")
    func compiler() throws {
      let source = Binaries.packageRoot + "/Tests/SystemTests/Programs/workers.c"
      try check { _ in Command("gcc", ["-O1", "-S", "-o", "-", source]) }
      try check { _ in Command("gcc", ["-DCHECK=(", "-fsyntax-only", source]) }
      try check { folder in
        Command("sh", ["-c", "gcc -pipe -o \(folder)/program \(source) && sha256sum < \(folder)/program"])
      }
    }

    @Test("git: a repository made, a commit, its id and its difference", .needs("git"))
    func git() throws {
      let script = """
        export HOME="$PWD" GIT_CONFIG_NOSYSTEM=1 GIT_AUTHOR_DATE='1 Jan 2020 00:00 +0000' \
          GIT_COMMITTER_DATE='1 Jan 2020 00:00 +0000' GIT_PAGER=cat
        git -c init.defaultBranch=main init && echo one > file && git add file
        git -c user.name=n -c user.email=e commit -m first && echo two >> file && git diff && git gc && git fsck --full
        git rev-parse HEAD; git log --stat; git log nosuchbranch
        """
      try check { Command("sh", ["-c", script]).working(in: $0) }
    }

    @Test("python: descriptors, subprocesses, threads")
    func python() throws {
      let python = try #require(Requirements.python)
      let script = """
        import os, socket, ssl, subprocess, sys, threading, multiprocessing
        print(sorted(os.listdir('/proc/self/fd'), key=int))
        print(subprocess.run(['ls', '/proc/self/fd'], capture_output=True, text=True, env={}).stdout)
        a, b = socket.socketpair()
        threading.Thread(target=lambda: b.sendall(b'x' * 100000) or b.close()).start()
        data = b''
        while part := a.recv(4096): data += part
        print(len(data), os.popen('echo popen').read(), os.system('exit 3'))
        r, w = os.pipe()
        if os.fork() == 0: os.write(w, b'child'); os._exit(0)
        os.wait(); print(os.read(r, 10), a.getsockname(), a.fileno())
        with multiprocessing.Pool(2) as pool: print(pool.map(abs, [-1, -2]))
        sys.exit(5)
        """
      try check { _ in Command(python, ["-c", script]) }
    }
  }
}
