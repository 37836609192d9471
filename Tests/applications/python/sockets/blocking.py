"""lib/peer.py's protocol on a blocking socket: what the servers with threads and with processes share."""

import hashlib
import os
import socket
import socketserver

CHUNK = 1 << 16


def put(stream, left):
    digest = hashlib.md5()
    while left > 0:
        data = stream.read(min(left, CHUNK))
        if not data:
            raise ConnectionError("the stream ended early")
        digest.update(data)
        left -= len(data)
    stream.write(digest.hexdigest().encode() + b"\n")


def get(stream, left):
    digest = hashlib.md5()
    while left > 0:
        data = os.urandom(min(left, CHUNK))
        digest.update(data)
        stream.write(data)
        left -= len(data)
    stream.write(digest.hexdigest().encode() + b"\n")


def connection(connected):
    """Until the client's end. A client that resets is none of the server's errors."""
    try:
        with connected.makefile("rwb", CHUNK) as stream:
            while line := stream.readline().split():
                if line[0] == b"ECHO":
                    while data := stream.read1(CHUNK):
                        stream.write(data)
                        stream.flush()
                    connected.shutdown(socket.SHUT_WR)
                    break
                {b"PUT": put, b"GET": get}[line[0]](stream, int(line[1]))
                stream.flush()
    except ConnectionError as error:
        print("a client left:", repr(error), flush=True)


class Handler(socketserver.BaseRequestHandler):
    def handle(self):
        connection(self.request)


class DualStack:
    """For socketserver's servers: one listener of IPv6 that takes IPv4 besides."""

    address_family = socket.AF_INET6
    request_queue_size = 4096
    allow_reuse_address = True

    def server_bind(self):
        self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        super().server_bind()
