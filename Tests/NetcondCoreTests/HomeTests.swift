import Frames
import Glibc
import NetcondCore
import Testing

/// A folder of this test's own, removed with its owner.
private final class Folder {
  let path: String
  init() {
    var template = Array("/tmp/netcond-unit-XXXXXX".utf8CString)
    path = mkdtemp(&template).map { String(cString: $0) } ?? ""
  }
  deinit { Self.remove(path) }

  private static func remove(_ path: String) {
    if let folder = opendir(path) {
      while let entry = readdir(folder) {
        let name = withUnsafeBytes(of: &entry.pointee.d_name) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
        if name != ".", name != ".." { remove(path + "/" + name) }
      }
      closedir(folder)
    }
    Glibc.remove(path)
  }
}

private func text(_ path: String) -> String? {
  guard let file = fopen(path, "r") else { return nil }
  defer { fclose(file) }
  var bytes = [UInt8](repeating: 0, count: 4096)
  let count = fread(&bytes, 1, bytes.count, file)
  return String(decoding: bytes.prefix(count), as: UTF8.self)
}

private func write(_ text: String, to path: String) {
  let file = fopen(path, "w")
  fputs(text, file)
  fclose(file)
}

private func mode(_ path: String) -> mode_t {
  var status = stat()
  return stat(path, &status) == 0 ? status.st_mode & 0o777 : 0
}

@Suite struct HomeTests {
  private let folder = Folder()
  private let id = NetworkID(rawValue: 0x0123_4567_89ab_cdef)

  @Test func `prepare makes what the original has`() throws {
    var home = Home(path: folder.path + "/home/")
    try home.prepare()
    #expect(home.path == folder.path + "/home")
    #expect(text(home.portFile) == nil)  // noted by the one who claims the home
    try home.claim()
    try home.note(port: 9993)
    #expect(text(home.portFile) == "9993")
    #expect(text(home.path + "/authtoken.secret")?.count == 32)
    #expect(mode(home.path + "/authtoken.secret") == 0o600)
    #expect(mode(home.path + "/identity.secret") == 0o600)
    #expect(text(home.path + "/identity.secret")?.hasPrefix(text(home.path + "/identity.public") ?? "?") == true)
    #expect(access(home.networksFolder, W_OK) == 0)
    #expect(home.socketPath(id) == home.path + "/nc_0123456789abcdef")
  }

  @Test func `identity, token and hardware addresses stay the same`() throws {
    var first = Home(path: folder.path)
    try first.prepare()
    let token = text(first.path + "/authtoken.secret")
    var second = Home(path: folder.path)
    try second.prepare()
    #expect(second.identity == first.identity)
    #expect(second.mac(for: id) == first.mac(for: id))
    #expect(text(second.path + "/authtoken.secret") == token)
    #expect(second.token == token && second.publicIdentity == text(first.path + "/identity.public"))
    #expect(second.address.count == 10 && second.publicIdentity.hasPrefix(second.address + ":"))
  }

  @Test func `hardware addresses are locally administered hosts', and differ by network and home`() throws {
    var home = Home(path: folder.path + "/a")
    var other = Home(path: folder.path + "/b")
    try home.prepare()
    try other.prepare()
    var macs: Set<MACAddress> = []
    for number in 0..<500 {
      for owner in [home, other] {
        let mac = owner.mac(for: NetworkID(rawValue: UInt64(number)))
        #expect(mac.bits >> 40 & 3 == 2)
        macs.insert(mac)
      }
    }
    #expect(macs.count == 1000)
  }

  @Test func `an identity file is kept as it is`() throws {
    write("0123456789:0:abcdef:fedcba", to: folder.path + "/identity.secret")
    var home = Home(path: folder.path)
    try home.prepare()
    #expect(text(folder.path + "/identity.secret") == "0123456789:0:abcdef:fedcba")
    #expect(home.identity != 0)
  }

  @Test func `a path too long for a unix socket is refused by name`() {
    var home = Home(path: folder.path + "/" + String(repeating: "x", count: 100))
    let error = #expect(throws: HomeError.self) { try home.prepare() }
    #expect(error?.description.contains("too long") == true)
  }

  @Test func `a file in the folder's place is refused by name`() {
    write("", to: folder.path + "/home")
    var home = Home(path: folder.path + "/home")
    let error = #expect(throws: HomeError.self) { try home.prepare() }
    #expect(error?.description.contains(folder.path + "/home") == true)
  }

  @Test func `a home is claimed by the pid file, which release removes`() throws {
    var home = Home(path: folder.path)
    try home.prepare()
    try home.claim()
    #expect(text(home.pidFile) == "\(getpid())")
    try home.claim()
    home.release()
    #expect(access(home.pidFile, F_OK) != 0)
  }

  @Test(arguments: ["1", "99999999", "no pid", ""]) func `a pid file of no daemon that lives does not keep a home`(
    content: String
  ) throws {
    var home = Home(path: folder.path)
    try home.prepare()
    write(content, to: home.pidFile)
    try home.claim()
    #expect(text(home.pidFile) == "\(getpid())")
  }

  @Test func `networks come in the order of their ids, and other files are left alone`() throws {
    var home = Home(path: folder.path)
    try home.prepare()
    write("link=hub:b", to: home.networksFolder + "/0000000000000002.conf")
    write("link=hub:a", to: home.networksFolder + "/0000000000000001.conf")
    write("allowManaged=1", to: home.networksFolder + "/0000000000000001.local.conf")
    write("junk", to: home.networksFolder + "/.0000000000000003.conf")
    write("junk", to: home.networksFolder + "/README")
    #expect(try home.loadNetworks().map(\.link) == [.hub("a"), .hub("b")])
  }

  @Test func `the mistakes of all files are reported together`() throws {
    var home = Home(path: folder.path)
    try home.prepare()
    write("mtu=1\nmac=2", to: home.networksFolder + "/0000000000000001.conf")
    write("link=tap:t0", to: home.networksFolder + "/0000000000000002.conf")
    write("\nlink=tap:t0", to: home.networksFolder + "/0000000000000003.conf")
    write("", to: home.networksFolder + "/lab.conf")
    let errors = #expect(throws: ConfigurationErrors.self) { _ = try home.loadNetworks() }?.errors ?? []
    let places = errors.map { "\($0.file.split(separator: "/").last ?? ""):\($0.line)" }
    #expect(
      Set(places) == ["0000000000000001.conf:1", "0000000000000001.conf:2", "0000000000000003.conf:2", "lab.conf:0"])
    #expect(errors.count == 4)
  }

  @Test func `a network that was left keeps its file, and gets it back`() throws {
    var home = Home(path: folder.path)
    try home.prepare()
    let empty = try home.loadNetwork(id, beside: [])
    #expect(empty.link == .hub("default") && text(empty.file)?.isEmpty == true)
    write("link=hub:mine\n", to: empty.file)
    try home.putAside(id)
    #expect(try home.loadNetworks().isEmpty)
    let again = try home.loadNetwork(id, beside: [])
    #expect(again.link == .hub("mine"))
    #expect(text(again.file + ".left") == nil)
  }

  @Test func `a network is not joined whose tap is another's, or whose file is wrong`() throws {
    var home = Home(path: folder.path)
    try home.prepare()
    let file = try home.loadNetwork(id, beside: []).file
    write("link=tap:one\n", to: file)
    let other = try home.loadNetwork(id, beside: [])
    write("link=tap:one\n", to: file.replacing("/\(id)", with: "/00000000000000ff"))
    #expect(throws: ConfigurationErrors.self) {
      try home.loadNetwork(NetworkID(rawValue: 255), beside: [other])
    }
    write("color=red\n", to: file)
    #expect(throws: ConfigurationErrors.self) { try home.loadNetwork(id, beside: []) }
  }

  @Test func `an empty token keeps everybody out, and so is refused`() throws {
    write("\n", to: folder.path + "/authtoken.secret")
    var home = Home(path: folder.path)
    #expect(throws: HomeError.self) { try home.prepare() }
  }
}
