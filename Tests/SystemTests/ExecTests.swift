import TestSupport
import Testing

extension SystemTests {
  /// What programs start, with whatever environment, stays on the network, unless it is told not to.
  @Suite struct Exec {
    private static let script = Binaries.packageRoot + "/scripts/zerotier-intercept"

    /// Prints `inside` on the network whose address is `Address.left`, `outside` on the host's.
    private static let probe = """
      import socket
      try: socket.socket().bind(('\(Address.left)', 0)); print('inside', flush=True)
      except OSError: print('outside', flush=True)
      """

    private let stage: HubStage
    private let python: String

    init() throws {
      stage = try HubStage()
      python = try #require(Requirements.python)
    }

    /// The words that a shell script prints, intercepted; `$PROBE` is the probe.
    private func words(_ script: String, shell: String = "/bin/sh") throws -> [String] {
      let command = Command(shell, ["-c", script]).with(environment: [
        "NETCOND_INTERCEPT_LIBRARY": stage.binaries.library, "PYTHON": python, "PROBE": Exec.probe,
        "SCRIPT": Exec.script,
      ])
      let done = try run(stage.onLeft(command), seconds: 60).checked()
      #expect(done.standardError.isEmpty, "\(done.standardError)")
      return done.standardOutput.split(whereSeparator: { $0 == "\n" || $0 == " " }).map(String.init)
    }

    @Test("env -i, a shell in it, subprocesses of python with an empty environment")
    func cleaned() throws {
      let script = """
        env -i "$PYTHON" -c "$PROBE"
        env -i /bin/sh -c '"$0" -c "$1"' "$PYTHON" "$PROBE"
        unset LD_PRELOAD ZT_NC_NETWORK; "$PYTHON" -c "$PROBE"
        """
      #expect(try words(script) == ["inside", "inside", "inside"])
      let parent = """
        import os, subprocess, sys
        probe = os.environ.pop('PROBE')
        subprocess.run([sys.executable, '-c', probe], env={})
        os.environ.clear()
        subprocess.run([sys.executable, '-c', probe], close_fds=False)
        os.posix_spawn(sys.executable, [sys.executable, '-c', probe], {}); os.wait()
        os.system(sys.executable + ' -c "' + probe + '"')
        os.execve(sys.executable, [sys.executable, '-c', probe], {})
        """
      #expect(
        try words("exec \"$PYTHON\" -c '\(parent.split(separator: "'").joined(separator: "'\\''"))'")
          == Array(repeating: "inside", count: 5))
    }

    @Test("the way out: an empty ZT_NC_NETWORK, zerotier-intercept off, and back", arguments: ["/bin/sh", "bash"])
    func wayOut(shell: String) throws {
      try #require(Requirements.pathOfProgram(shell) != nil || pathExists(shell))
      let script = """
        env ZT_NC_NETWORK= "$PYTHON" -c "$PROBE"
        ZEROTIER_INTERCEPT=off; . "$SCRIPT" off; "$PYTHON" -c "$PROBE"; /bin/sh -c '"$PYTHON" -c "$PROBE"'
        ZEROTIER_INTERCEPT=on; . "$SCRIPT" on; "$PYTHON" -c "$PROBE"
        """
      #expect(try words(script, shell: shell) == ["outside", "outside", "outside", "inside"])
    }

    @Test("inetd's way: a program finds its connection as stdin, stdout and stderr")
    func inetd() throws {
      let server = """
        import os, socket, subprocess
        listener = socket.create_server(('\(Address.left)', 7000)); print('ready', flush=True)
        for command in (['cat'], ['/bin/sh', '-c', 'read line; echo "you said $line"; echo bye >&2'], ['wc', '-c']):
          connection, _ = listener.accept()
          subprocess.run(command, stdin=connection, stdout=connection, stderr=connection, env={'PATH': '/usr/bin:/bin'})
          connection.close()
        """
      let process = try ChildProcess(stage.onLeft(Command(python, ["-c", server])), isInteractive: true)
      #expect(try process.readLine(seconds: 20) == "ready")
      let client = """
        import socket
        for text in (b'x' * 200000, b'hello\\n', b'y' * 1234):
          s = socket.create_connection(('\(Address.left)', 7000)); s.sendall(text); s.shutdown(socket.SHUT_WR)
          answer = b''
          while part := s.recv(65536): answer += part
          print(len(answer) if len(answer) > 100 else answer.decode().split(), flush=True)
        """
      let done = try run(stage.onRight(Command(python, ["-c", client])), seconds: 60).checked()
      #expect(done.standardOutput == "200000\n['you', 'said', 'hello', 'bye']\n['1234']\n")
    }
  }
}
