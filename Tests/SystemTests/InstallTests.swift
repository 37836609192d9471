import TestSupport
import Testing

extension SystemTests {
  /// What `make install` leaves, and what the library needs and shows.
  @Suite struct Install {
    @Test("make install with DESTDIR and PREFIX: the four names, and they work", .needs("make"))
    func install() throws {
      let binaries = try Binaries.located()
      let folder = try TemporaryFolder("dest")
      // The binaries under test, and nothing rebuilt: the stamp is newer than every source.
      let stamp = try folder.write("stamp", "")
      let make = Command(
        "make",
        [
          "-C", Binaries.packageRoot, "--no-print-directory", "install", "DESTDIR=\(folder.path)", "PREFIX=/opt/nc",
          "RELEASE=\(binaries.folder)", "BUILT=\(stamp)",
        ])
      try run(make, seconds: 60).checked()
      let root = folder.path + "/opt/nc"
      #expect(
        listFolder(root + "/bin") == ["netcond", "zerotier-cli", "zerotier-intercept", "zerotier-netcon-service"])
      #expect(listFolder(root + "/lib") == ["libzerotierintercept.so"])
      #expect(
        try run(Command("readlink", [root + "/bin/zerotier-netcon-service"]), seconds: 5).standardOutput == "netcond\n")
      #expect(try run(Command(root + "/bin/zerotier-netcon-service", ["-v"]), seconds: 5).status == .exited(0))
      let printed = try run(
        Command(root + "/bin/zerotier-intercept", ["printenv", "LD_PRELOAD"]), seconds: 5)
      #expect(printed.standardOutput == root + "/lib/libzerotierintercept.so\n", "\(printed)")
    }

    @Test("the library needs libc.so.6 only", .needs("readelf"))
    func needs() throws {
      let library = try Binaries.located().library
      let text = try run(Command("readelf", ["-d", library]), seconds: 10).checked().standardOutput
      let needed = text.split(separator: "\n").filter { $0.contains("(NEEDED)") }
      #expect(needed.count == 1)
      #expect(needed.allSatisfy { $0.contains("[libc.so.6]") }, "\(needed)")
    }

    @Test("the library exports what it interposes and nothing else", .needs("nm"))
    func exports() throws {
      let library = try Binaries.located().library
      let text = try run(Command("nm", ["-D", "--defined-only", library]), seconds: 10).checked().standardOutput
      let names = Set(text.split(separator: "\n").compactMap { $0.split(separator: " ").last.map(String.init) })
      let needed: Set<String> = [
        "socket", "bind", "listen", "accept", "accept4", "connect", "getsockname", "getpeername", "getsockopt",
        "setsockopt", "shutdown", "syscall",
      ]
      #expect(needed.isSubset(of: names), "missing: \(needed.subtracting(names))")
      // Interposing means: libc has the same name, be it for old programs only (__res_search).
      let python = try #require(Requirements.python)
      let program = """
        import subprocess, sys
        libc = next(line.split()[-1] for line in open('/proc/self/maps') if line.rstrip().endswith('/libc.so.6'))
        table = subprocess.run(['nm', '-D', '--defined-only', libc], capture_output=True, text=True, check=True).stdout
        known = {line.split()[-1].split('@')[0] for line in table.splitlines()}
        print(sorted(set(sys.argv[1:]) - known))
        """
      let strange = try run(Command(python, ["-c", program] + names.sorted()), seconds: 10).checked()
      #expect(strange.standardOutput == "[]\n")
    }
  }
}
