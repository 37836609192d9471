#!/usr/bin/env python3
"""The peer of HTTP clients, on the kernel's stack: peer_http.py PORT TLS_PORT CERTIFICATE KEY. HTTP/1.1, IPv4 and IPv6.

    GET /random/N    N bytes and their md5 as 32 hexadecimal digits
    GET /chunked/N   the same in chunks
    PUT /hash        the md5 of the body, which has a length or comes in chunks
    GET /silent      no answer
    GET /short       a tenth of the body that was promised, and the end
"""

import hashlib
import http.server
import os
import socket
import ssl
import sys
import threading

CHUNK = 1 << 16


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # or head and body of a small answer wait for each other

    def do_GET(self):
        what, _, count = self.path.lstrip("/").partition("/")
        self.send_response(200)
        if what == "random":
            self.send_header("Content-Length", int(count) + 32)
            self.end_headers()
            self.send_random(int(count), self.wfile.write)
        elif what == "chunked":
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.send_random(int(count), lambda data: self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data)))
            self.wfile.write(b"0\r\n\r\n")
        elif what == "silent":
            self.rfile.read(1)  # the client's end
            self.close_connection = True
        elif what == "short":
            self.send_header("Content-Length", 1000)
            self.end_headers()
            self.wfile.write(bytes(100))
            self.close_connection = True
        else:
            raise ValueError(self.path)

    def send_random(self, count, write):
        digest = hashlib.md5()
        while count > 0:
            data = os.urandom(min(count, CHUNK))
            digest.update(data)
            write(data)
            count -= len(data)
        write(digest.hexdigest().encode())

    def do_PUT(self):
        digest = hashlib.md5()
        for data in self.chunks() if self.headers.get("Transfer-Encoding") == "chunked" else self.body():
            digest.update(data)
        answer = digest.hexdigest().encode()
        self.send_response(200)
        self.send_header("Content-Length", len(answer))
        self.end_headers()
        self.wfile.write(answer)

    def body(self):
        left = int(self.headers["Content-Length"])
        while left > 0:
            data = self.rfile.read(min(left, CHUNK))
            if not data:
                raise ConnectionError("the body ended early")
            left -= len(data)
            yield data

    def chunks(self):
        while count := int(self.rfile.readline(), 16):
            yield self.rfile.read(count)
            self.rfile.readline()
        self.rfile.readline()

    do_POST = do_PUT

    def log_message(self, *words):
        pass


class Server(http.server.ThreadingHTTPServer):
    address_family = socket.AF_INET6
    request_queue_size = 4096

    def server_bind(self):
        self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        super().server_bind()

    def handle_error(self, request, client_address):
        """Clients leave early, which is their right."""
        if isinstance(sys.exc_info()[1], (ConnectionError, ssl.SSLError)):
            print("peer: a client left:", repr(sys.exc_info()[1]), flush=True)
        else:
            super().handle_error(request, client_address)


class SecureServer(Server):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)

    def finish_request(self, request, client_address):
        """The handshake is the connection's thread's, so that nobody waits for a slow client."""
        with self.context.wrap_socket(request, server_side=True) as secure:
            super().finish_request(secure, client_address)


def main():
    port, tls_port, certificate, key = sys.argv[1:5]
    SecureServer.context.load_cert_chain(certificate, key)
    threading.Thread(target=SecureServer(("::", int(tls_port)), Handler).serve_forever, daemon=True).start()
    Server(("::", int(port)), Handler).serve_forever()


main()
