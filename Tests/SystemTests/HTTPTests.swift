import TestSupport
import Testing

/// A file server and curl, neither recompiled: what the product is for.
private struct Site {
  let folder: TemporaryFolder
  let sum: String
  static let name = "file.bin"

  /// A folder with one file of `bytes` random bytes.
  init(bytes: Int) throws {
    folder = try TemporaryFolder("site")
    let path = folder.path + "/" + Site.name
    try run(Command("sh", ["-c", "head -c \(bytes) /dev/urandom > '\(path)'"]), seconds: 20).checked()
    sum = try Site.sha256(path)
  }

  static func sha256(_ path: String) throws -> String {
    let line = try run(Command("sha256sum", [path]), seconds: 60).checked().standardOutput
    return String(line.prefix { $0 != " " })
  }

  /// python3 -m http.server, returned once it listens.
  func servePython(address: String, port: Int, _ wrap: (Command) -> Command) throws -> ChildProcess {
    let python = try #require(Requirements.python, "python3 is missing")
    let command = Command(
      python, ["-u", "-m", "http.server", String(port), "--bind", address, "--directory", folder.path])
    let server = try ChildProcess(wrap(command))
    try waitUntil("http.server listening", seconds: 20) {
      guard server.isRunning else { throw SupportError("http.server ended:\n\(server.standardError)") }
      return server.standardOutput.contains("Serving HTTP")
    }
    return server
  }

  /// nginx as one process in the foreground.
  func serveNginx(listen: [String], _ wrap: (Command) -> Command) throws -> ChildProcess {
    let base = folder.path
    let listens = listen.map { "listen \($0);" }.joined(separator: " ")
    let file = try folder.write(
      "nginx.conf",
      """
      daemon off; master_process off; pid \(base)/nginx.pid; error_log stderr;
      events { worker_connections 256; use epoll; }
      http {
        access_log off; sendfile on; server_tokens off;
        client_body_temp_path \(base)/b; proxy_temp_path \(base)/p; fastcgi_temp_path \(base)/f;
        uwsgi_temp_path \(base)/u; scgi_temp_path \(base)/s;
        server { \(listens) root \(base); }
      }

      """)
    let nginx = Requirements.pathOfProgram("nginx") ?? "nginx"
    return try ChildProcess(wrap(Command(nginx, ["-c", file, "-p", base, "-e", "stderr"])))
  }

  /// Fetches the file with curl and compares what came.
  func fetch(_ host: String, port: Int, retries: Bool = false, _ wrap: (Command) -> Command) throws {
    let target = folder.path + "/got"
    let url = "http://\(host.contains(":") ? "[\(host)]" : host):\(port)/\(Site.name)"
    let curl = wrap(Command("curl", ["-sS", "--noproxy", "*", "-m", "30", "-o", target, url]))
    var result = try run(curl, seconds: 40)
    if retries {
      try waitUntil("a server at \(url)", seconds: 20) {
        if !result.status.isSuccess { result = try run(curl, seconds: 40) }
        return result.status.isSuccess
      }
    }
    try result.checked()
    #expect(try Site.sha256(target) == sum, "what curl got from \(url) differs")
  }
}

extension SystemTests {
  @Suite struct HTTP {
    @Test("python's file server and curl on one hub, IPv4 and IPv6", .needs("curl"), .needs("python3"))
    func pythonOverHub() throws {
      let stage = try HubStage(ipv6: true)
      let site = try Site(bytes: 5_000_001)
      for (address, port) in [(Address.left, 8000), (Address.left6, 8001)] {
        let server = try site.servePython(address: address, port: port, stage.onLeft)
        try site.fetch(address, port: port, stage.onRight)
        try site.fetch(address, port: port, stage.onRight)
        server.kill()
      }
    }

    @Test("an intercepted file server and the kernel's curl, and the reverse", .needsTap, .needs("curl"))
    func pythonOverTap() throws {
      let stage = try TapStage(ipv6: true)
      let site = try Site(bytes: 5_000_001)
      for (app, peer) in [(Address.app, Address.peer), (Address.app6, Address.peer6)] {
        let inside = try site.servePython(address: app, port: 8000, stage.app)
        try site.fetch(app, port: 8000, stage.kernel)
        inside.kill()
        let outside = try site.servePython(address: peer, port: 8000, stage.kernel)
        try site.fetch(peer, port: 8000, stage.app)
        outside.kill()
      }
    }

    @Test("nginx in one process, asked from the kernel's side", .needsTap, .needs("curl"), .needs("nginx"))
    func nginxOverTap() throws {
      let stage = try TapStage(ipv6: true)
      let site = try Site(bytes: 5_000_001)
      let server = try site.serveNginx(listen: ["\(Address.app):8080", "[\(Address.app6)]:8080"], stage.app)
      try site.fetch(Address.app, port: 8080, retries: true, stage.kernel)
      try site.fetch(Address.app6, port: 8080, stage.kernel)
      #expect(server.isRunning)
    }

    @Test("nginx in one process, asked over the hub", .needs("curl"), .needs("nginx"))
    func nginxOverHub() throws {
      let stage = try HubStage(ipv6: true)
      let site = try Site(bytes: 5_000_001)
      let server = try site.serveNginx(listen: ["\(Address.left):8080", "[\(Address.left6)]:8080"], stage.onLeft)
      try site.fetch(Address.left, port: 8080, retries: true, stage.onRight)
      try site.fetch(Address.left6, port: 8080, stage.onRight)
      #expect(server.isRunning)
    }
  }
}
