internal import NIOCore
internal import NIOEmbedded
internal import NIOHTTP1

/// The server's side of one HTTP/1.1 connection, without I/O: bytes in, bytes out. SwiftNIO reads and writes the
/// messages, in a channel that is not bound to any event loop, because the daemon has one already.
final class HTTPServerExchange {
  /// The most bytes of a request's body.
  static let bodyLimit = 64 * 1024

  private let channel = EmbeddedChannel()
  private var head: HTTPRequestHead?
  private var body: [UInt8] = []
  /// Nothing more is read from this connection, and it ends when the output is written.
  private(set) var isOver = false

  init() {
    // Its only errors are those of a channel that is closed.
    try? channel.pipeline.syncOperations.configureHTTPServerPipeline(
      withPipeliningAssistance: false, withErrorHandling: false)
  }

  deinit { _ = try? channel.finish(acceptAlreadyClosed: true) }

  /// Takes received bytes; answers each request that is complete with what `answer` says, in order.
  /// - Returns: the bytes to send.
  func receive(_ bytes: UnsafeRawBufferPointer, answer: (ControlRequest) -> ControlResponse) -> [UInt8] {
    guard !isOver else { return [] }
    do {
      try channel.writeInbound(ByteBuffer(bytes: bytes))
      while !isOver, let part = try channel.readInbound(as: HTTPServerRequestPart.self) { take(part, answer) }
    } catch {
      refuse(400, "this is no HTTP/1.1 request")
    }
    return takeOutput()
  }

  private func take(_ part: HTTPServerRequestPart, _ answer: (ControlRequest) -> ControlResponse) {
    switch part {
    case .head(let head):
      self.head = head
      body = []
    case .body(let bytes):
      guard body.count + bytes.readableBytes <= Self.bodyLimit else {
        return refuse(413, "a request's body has \(Self.bodyLimit) bytes at most")
      }
      body.append(contentsOf: bytes.readableBytesView)
    case .end:
      guard let head else { return }
      self.head = nil
      let names = head.headers.map { ($0.name.lowercased(), $0.value) }
      let request = ControlRequest(
        method: head.method.rawValue, target: head.uri, headers: Dictionary(names) { first, _ in first }, body: body)
      write(answer(request), isKept: head.isKeepAlive, hasBody: head.method != .HEAD)
    }
  }

  private func refuse(_ status: Int, _ cause: String) {
    write(.text(status, cause + "\n"), isKept: false, hasBody: true)
  }

  private func write(_ response: ControlResponse, isKept: Bool, hasBody: Bool) {
    var headers = HTTPHeaders()
    headers.add(name: "content-type", value: response.contentType)
    headers.add(name: "content-length", value: "\(response.body.count)")
    headers.add(name: "cache-control", value: "no-store")
    headers.add(name: "connection", value: isKept ? "keep-alive" : "close")
    let head = HTTPResponseHead(
      version: .http1_1, status: HTTPResponseStatus(statusCode: response.status), headers: headers)
    isOver = isOver || !isKept
    channel.write(HTTPServerResponsePart.head(head), promise: nil)
    if hasBody {
      channel.write(HTTPServerResponsePart.body(.byteBuffer(ByteBuffer(bytes: response.body))), promise: nil)
    }
    channel.writeAndFlush(HTTPServerResponsePart.end(nil), promise: nil)
  }

  private func takeOutput() -> [UInt8] {
    var output: [UInt8] = []
    while let bytes = try? channel.readOutbound(as: ByteBuffer.self) {
      output.append(contentsOf: bytes.readableBytesView)
    }
    return output
  }
}
