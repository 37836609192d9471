"""epoll_server.py PORT: lib/peer.py's protocol in one thread under edge-triggered epoll, TCP and UDP."""

import hashlib
import os
import select
import signal
import socket
import sys

CHUNK = 1 << 16
FULL = 1 << 20  # bytes that wait to be written, above which nothing more is read or made


class Connection:
    """After an edge one must go on until EAGAIN, or the next edge never comes."""

    def __init__(self, connected):
        self.socket = connected
        self.incoming, self.outgoing = bytearray(), bytearray()
        self.state, self.left, self.digest = "line", 0, None
        self.readable, self.ended = True, False

    def advance(self):
        """Until neither reading, working nor writing gets any further. True when the connection is done."""
        moved = True
        while moved:
            moved = self.receive() | self.work() | self.send()
        return self.ended and not self.outgoing and self.state in ("line", "echo")

    def receive(self):
        if not self.readable or len(self.outgoing) >= FULL or len(self.incoming) >= FULL:
            return False
        try:
            data = self.socket.recv(CHUNK)
        except BlockingIOError:
            self.readable = False
            return False
        if not data:
            self.readable, self.ended = False, True
        self.incoming += data
        return True

    def send(self):
        if not self.outgoing:
            return False
        try:
            sent = self.socket.send(self.outgoing)
        except BlockingIOError:
            return False
        del self.outgoing[:sent]
        return True

    def take(self, count):
        taken = bytes(self.incoming[:count])
        del self.incoming[:count]
        return taken

    def work(self):
        if self.state == "line":
            end = self.incoming.find(b"\n") + 1
            if end == 0:
                return False
            word, *count = self.take(end).split()
            self.state = {b"PUT": "put", b"GET": "get", b"ECHO": "echo"}[word]
            self.left, self.digest = int(count[0]) if count else 0, hashlib.md5()
            return True
        if self.state == "echo":
            data = self.take(FULL)
            self.outgoing += data
            return bool(data)
        if self.state == "get" and len(self.outgoing) >= FULL:
            return False
        data = self.take(self.left) if self.state == "put" else os.urandom(min(self.left, CHUNK))
        if self.state == "get":
            self.outgoing += data
        self.digest.update(data)
        self.left -= len(data)
        if self.left == 0:
            self.outgoing += self.digest.hexdigest().encode() + b"\n"
            self.state = "line"
            return True
        return bool(data)


class Server:
    def __init__(self, port):
        self.epoll = select.epoll()
        self.connections = {}
        self.listener = socket.create_server(("", port), family=socket.AF_INET6, backlog=4096, dualstack_ipv6=True)
        self.udp = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        self.udp.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        self.udp.bind(("::", port))
        for one in (self.listener, self.udp):
            one.setblocking(False)
            self.epoll.register(one, select.EPOLLIN | select.EPOLLET)

    def accept_all(self):
        while True:
            try:
                connected, _ = self.listener.accept()
            except BlockingIOError:
                return
            connected.setblocking(False)
            self.connections[connected.fileno()] = Connection(connected)
            self.epoll.register(connected, select.EPOLLIN | select.EPOLLOUT | select.EPOLLRDHUP | select.EPOLLET)

    def echo_all(self):
        while True:
            try:
                data, address = self.udp.recvfrom(CHUNK)
            except BlockingIOError:
                return
            self.udp.sendto(data, address)

    def serve(self, number):
        connection = self.connections[number]
        connection.readable = not connection.ended
        try:
            done = connection.advance()
        except ConnectionError as error:
            print("a client left:", repr(error), flush=True)
            done = True
        if done or connection.ended and connection.state == "put":
            del self.connections[number]
            connection.socket.close()

    def run(self):
        while True:
            for number, _ in self.epoll.poll():
                if number == self.listener.fileno():
                    self.accept_all()
                elif number == self.udp.fileno():
                    self.echo_all()
                elif number in self.connections:
                    self.serve(number)


signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
Server(int(sys.argv[1])).run()
