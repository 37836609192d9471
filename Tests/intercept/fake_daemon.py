"""A daemon small enough to read: the RPC protocol of netcond_rpc.h, a loopback network, and a control socket.

Theory of operation. One thread, one selector. An address is a port only: connecting to a port somebody listens on
succeeds at once, PENDING_PORT waits for the control command "complete" or "refuse", UNREACHABLE_PORT has no route, all
others are refused. Data is relayed between the two daemon ends of a connection, or echoed for connections that the
control command "offer" made.

Control (unix stream, a line each, answered by a line): offer N | complete | refuse | misfill-prepared | end-prepared |
drop | connections | ops | replies | named | stop-accepting
"""

import contextlib
import errno
import os
import selectors
import socket
import struct
import threading

MAGIC = 0x444E434E
VERSION = 6
PENDING_PORT = 82
UNREACHABLE_PORT = 83
CONNECTED, LISTENING, FAILED = range(1, 4)
MARK_STREAM, MARK_V6, MARK_MADE = 0x4E << 24, 1 << 11, 1 << 12
OPTION_NULL, OPTION_COALESCE, REQUEST_POSTED = 1, 2, 1
SOCKET, BIND, LISTEN, CONNECT, NAMES, SETSOCKOPT, GETSOCKOPT = range(1, 8)
DISPENSER, REFILL, PREPARED_LOW, BATCH = 12, 13, 1, 3
DISPENSER_FETCHES = 1
SO_COOKIE, SO_INCOMING_CPU, TCP_INFO = 57, 49, 11
TCP_ESTABLISHED, TCP_SYN_SENT, TCP_CLOSE, TCP_LISTEN = 1, 2, 7, 10
REQUEST = struct.Struct("=IHHII4i24sQ320s")
REPLY = struct.Struct("=IHHIi4i24s24s8s256s")
NO_ADDRESS = bytes(24)


def pack_address(family, port, host):
    return struct.pack("=HHI16s", family, socket.htons(port), 0, host)


def port_of(address):
    return socket.ntohs(struct.unpack_from("=H", address, 2)[0])


def cookie_of(end):
    return int.from_bytes(end.getsockopt(socket.SOL_SOCKET, SO_COOKIE, 8), "little")


class Pair:
    """The daemon's view of one virtual socket; `end` is the daemon's end."""

    def __init__(self, daemon, family, kind, protocol):
        self.daemon, self.family, self.kind, self.protocol = daemon, family, kind, protocol
        self.local = self.remote = NO_ADDRESS
        self.tcp = TCP_CLOSE
        self.other = None  # the Pair data is relayed to; None: echo
        self.filler = 0
        self.options = {}
        self.id = daemon.next_id()
        self.made_for = None  # the client that was told of the app's end, which it fetches
        app, self.end = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        self.cookie = cookie_of(app)
        self.app = app

    def name(self, state, error=0):
        return b"\0netcond" + struct.pack("=BBBBHHQQ", VERSION, state, self.family, self.kind, self.protocol, error,
                                          self.daemon.nonce, self.id) + self.local + self.remote

    def fill(self):
        self.app.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
        self.app.setblocking(False)
        try:
            while True:
                self.filler += self.app.send(b"f")
        except BlockingIOError:
            self.app.setblocking(True)

    def give(self):
        """The app's end, to be closed once it is sent."""
        app, self.app = self.app, None
        return app

    def connected(self):
        self.tcp = TCP_ESTABLISHED
        self.end.bind(self.name(CONNECTED))
        while self.filler > 0:
            self.filler -= len(self.end.recv(self.filler))
        self.daemon.watch(self.end, self.daemon.on_data, self)

    def failed(self, error):
        self.tcp = TCP_CLOSE
        self.end.bind(self.name(FAILED, error))
        self.end.close()


def marks_of(family):
    return MARK_STREAM | MARK_MADE | (MARK_V6 if family == socket.AF_INET6 else 0)


def whole_filler():
    """The bytes that the least buffer takes in one piece, as who fetches an end fills it."""
    ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    with ends[0], ends[1]:
        ends[0].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
        return ends[0].send(bytes(8192), socket.MSG_DONTWAIT)


WHOLE_FILLER = whole_filler()


class FakeDaemon(threading.Thread):
    def __init__(self, folder, mode="normal"):
        super().__init__(daemon=True)
        self.mode = mode
        self.path = os.path.join(folder, "nc_0123456789abcdef")
        self.control_path = os.path.join(folder, "control")
        self.nonce = int.from_bytes(os.urandom(8), "little")
        self.ids = 0
        self.pairs, self.ports, self.pending = {}, {}, []
        self.clients, self.connections, self.ops, self.last_listener = [], 0, [], None
        self.replies = 0
        self.dispensers, self.prepared, self.fetched, self.named = {}, [], set(), 0
        self.misfilled = 0  # bytes less of filler than there will be are told of
        self.selector = selectors.DefaultSelector()
        self.rpc = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.rpc.bind(self.path)
        self.rpc.listen(64)
        self.control = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.control.bind(self.control_path)
        self.control.listen(16)
        self.stop_end, self.stop_watch = socket.socketpair()
        self.watch(self.rpc, self.on_client, None)
        self.watch(self.control, self.on_control_client, None)
        self.watch(self.stop_watch, None, None)

    def next_id(self):
        self.ids += 1
        return self.ids

    def watch(self, end, callback, context):
        self.selector.register(end, selectors.EVENT_READ, (callback, context))

    def forget(self, end):
        self.selector.unregister(end)
        end.close()

    def stop(self):
        self.stop_end.send(b".")
        self.join()
        for key in list(self.selector.get_map().values()):
            self.forget(key.fileobj)
        for pair in self.pairs.values():
            pair.end.close()
        self.stop_end.close()

    def run(self):
        while True:
            for key, _ in self.selector.select():
                callback, context = key.data
                if callback is None:
                    return
                callback(key.fileobj, context)

    # The RPC socket

    def on_client(self, listener, _):
        client, _ = listener.accept()
        self.connections += 1
        self.clients.append(client)
        self.watch(client, self.on_request, None)

    def on_request(self, client, _):
        try:
            data, fds, _, _ = socket.recv_fds(client, 4096, 4)
        except ConnectionResetError:
            data, fds = b"", []
        if not data:
            self.clients.remove(client)
            return self.forget(client)
        if self.mode == "silent":
            return [os.close(fd) for fd in fds]
        magic, version, op, sequence, flags, *arguments, address, cookie, body = REQUEST.unpack(data)
        assert magic == MAGIC and version == VERSION
        self.ops.append(op)
        if self.mode == "version":
            client.send(REPLY.pack(MAGIC, 7, op, sequence, errno.EPROTO, 0, 0, 0, 0, NO_ADDRESS, NO_ADDRESS, b"", b""))
            self.clients.remove(client)
            return self.forget(client)
        pair = None
        for fd in fds:
            with socket.socket(fileno=fd) as app:
                pair = self.pairs.get(cookie_of(app))
        if cookie != 0:
            assert op == CONNECT and flags & REQUEST_POSTED and not fds
            pair = self.pairs[cookie]
            assert pair.made_for is client and pair.app is not None  # no request has carried it before
            self.named += 1
        if pair is not None and pair.app is not None:
            pair.give().close()
        if op == REFILL:
            return self.refill(client, arguments[0])
        dispenser = None
        if op == DISPENSER:
            dispenser, self.dispensers[client, arguments[0]] = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            self.fetched.discard((client, arguments[0]))
            if arguments[1] & DISPENSER_FETCHES and self.mode != "passing":
                self.fetched.add((client, arguments[0]))
            self.refill(client, arguments[0])
        result = self.answer(op, arguments, address, body, pair, dispenser)
        status, out, local, remote, reply_body, app = result
        if flags & REQUEST_POSTED:
            if op == CONNECT and status != errno.EINPROGRESS:
                assert pair.tcp == TCP_CLOSE  # what is not fresh is not posted
                pair.failed(status)
            else:
                assert op == CONNECT or status == 0  # nor is what may fail
            return
        self.replies += 1
        reply = REPLY.pack(MAGIC, VERSION, op, sequence, status, *out, local, remote, b"", reply_body)
        if app is None:
            client.send(reply)
        else:
            socket.send_fds(client, [reply], [app.fileno()])
            app.close()

    def answer(self, op, arguments, address, body, pair, dispenser):
        status, out, local, remote, data, app = 0, [0, 0, 0, 0], NO_ADDRESS, NO_ADDRESS, b"", None
        if op == SOCKET:
            family, kind, protocol = arguments[:3]
            if kind != socket.SOCK_STREAM:
                status = errno.ESOCKTNOSUPPORT
            else:
                made = self.make(family, kind, protocol)
                if pair is not None:
                    made.options = dict(pair.options)
                app = made.give()
        elif op == DISPENSER:
            app = dispenser
        elif pair is None:
            status = errno.EBADF
        elif op == BIND:
            status = self.bind(pair, address)
            local = pair.local
        elif op == LISTEN:
            status = self.listen(pair)
        elif op == CONNECT:
            status = self.connect(pair, address)
        elif op == NAMES:
            local, remote = pair.local, pair.remote
        elif op == SETSOCKOPT and arguments[2] < 4:  # what Linux says at the level SOL_SOCKET
            status = errno.EINVAL
        elif op == SETSOCKOPT and arguments[3] & OPTION_NULL:
            status = errno.EFAULT
        elif op == SETSOCKOPT and arguments[3] & OPTION_COALESCE:
            out[0] = 1
        elif op == SETSOCKOPT:
            pair.options[arguments[0], arguments[1]] = body[:arguments[2]]
        elif op == GETSOCKOPT:
            key = arguments[0], arguments[1]
            if key == (socket.IPPROTO_TCP, TCP_INFO):
                data = bytes([pair.tcp])
            elif key in pair.options:
                data = pair.options[key][:arguments[2]]
            else:
                status = errno.ENOPROTOOPT
            out[0] = len(data)
        return status, out, local, remote, data, app

    def make(self, family, kind, protocol, is_finished=True):
        made = Pair(self, family, kind, protocol)
        if is_finished:
            made.app.setsockopt(socket.SOL_SOCKET, SO_INCOMING_CPU, ~marks_of(family))
            made.fill()
        else:
            made.filler = WHOLE_FILLER - self.misfilled
        self.pairs[made.cookie] = made
        return made

    def refill(self, client, family):
        for index in range(BATCH if (client, family) in self.dispensers else 0):
            is_fetched = (client, family) in self.fetched
            made = self.make(family, socket.SOCK_STREAM, 0, not is_fetched)
            self.prepared.append(made)
            ending = (made.app.fileno(), marks_of(family), made.filler) if is_fetched else (-1, 0, 0)
            message = struct.pack("=IHHQiiII", MAGIC, VERSION, PREPARED_LOW if index == 0 else 0, made.cookie, *ending, 0)
            dispenser = self.dispensers[client, family]
            with contextlib.suppress(OSError):  # the program has gone
                if is_fetched:
                    made.made_for = client
                    dispenser.send(message)
                else:
                    with made.give() as app:
                        socket.send_fds(dispenser, [message], [app.fileno()])

    def take_port(self, pair, port):
        while port == 0 or (port in self.ports and port < 1024):
            self.ids += 1
            port = 40000 + self.ids if 40000 + self.ids not in self.ports else 0
        self.ports[port] = pair
        return port

    def bind(self, pair, address):
        if pair.local != NO_ADDRESS:
            return errno.EINVAL
        if port_of(address) in self.ports:
            return errno.EADDRINUSE
        port = self.take_port(pair, port_of(address))
        pair.local = address[:2] + struct.pack("=H", socket.htons(port)) + address[4:]
        return 0

    def listen(self, pair):
        if pair.tcp not in (TCP_CLOSE, TCP_LISTEN):
            return errno.EINVAL
        if pair.local == NO_ADDRESS:
            self.bind(pair, pack_address(pair.family, 0, b""))
        if pair.tcp != TCP_LISTEN:
            pair.tcp = TCP_LISTEN
            pair.end.bind(pair.name(LISTENING))
        self.last_listener = pair
        return 0

    def connect(self, pair, address):
        if pair.tcp == TCP_SYN_SENT:
            return errno.EALREADY
        if pair.tcp == TCP_ESTABLISHED:
            return errno.EISCONN
        port = port_of(address)
        if port == UNREACHABLE_PORT:
            return errno.ENETUNREACH
        if pair.local == NO_ADDRESS:
            self.bind(pair, pack_address(pair.family, 0, address[8:]))
        pair.remote = address
        pair.tcp = TCP_SYN_SENT
        listener = self.ports.get(port)
        if port == PENDING_PORT:
            self.pending.append(pair)
        elif listener is not None and listener.tcp == TCP_LISTEN:
            self.offer(listener, pair.local, pair)
            pair.connected()
        else:
            pair.failed(errno.ECONNREFUSED)
        return errno.EINPROGRESS

    def offer(self, listener, remote, other):
        pair = Pair(self, listener.family, listener.kind, listener.protocol)
        pair.local, pair.remote, pair.other = listener.local, remote, other
        if other is not None:
            other.other = pair
        pair.connected()
        self.pairs[pair.cookie] = pair
        record = struct.pack("=IHHQ", MAGIC, VERSION, 0, pair.id) + pair.local + pair.remote
        with pair.give() as app:
            socket.send_fds(listener.end, [record], [app.fileno()])

    def on_data(self, end, pair):
        target = pair.other if pair.other is not None else pair
        try:
            data = end.recv(65536)
            if data:
                target.end.sendall(data)
            else:
                target.end.shutdown(socket.SHUT_WR)
        except OSError:
            data = b""
        if not data:
            self.selector.unregister(end)

    # The control socket

    def on_control_client(self, listener, _):
        self.watch(listener.accept()[0], self.on_command, None)

    def on_command(self, client, _):
        words = client.recv(256).decode().split()
        if not words:
            return self.forget(client)
        answer = "ok"
        if words[0] == "offer":
            listener = self.last_listener
            for index in range(int(words[1])):
                self.offer(listener, pack_address(socket.AF_INET, 1000 + index, bytes([10, 0, 0, 9])), None)
        elif words[0] in ("complete", "refuse"):
            pending, self.pending = self.pending, []
            for pair in pending:
                pair.connected() if words[0] == "complete" else pair.failed(errno.ECONNREFUSED)
        elif words[0] == "drop":
            for connection in self.clients:
                self.forget(connection)
            self.clients = []
        elif words[0] == "misfill-prepared":
            self.misfilled = 1
        elif words[0] == "end-prepared":  # as when the daemon has died
            for pair in self.prepared:
                pair.end.close()
                if pair.app is not None:
                    pair.give().close()
            self.prepared = []
            for dispenser in self.dispensers.values():
                dispenser.close()
            self.dispensers = {}
        elif words[0] == "stop-accepting":
            self.forget(self.rpc)
        elif words[0] == "connections":
            answer = str(self.connections)
        elif words[0] == "named":
            answer = str(self.named)
        elif words[0] == "replies":
            answer = str(self.replies)
        elif words[0] == "ops":
            answer = str(len(self.ops))
        client.send(answer.encode() + b"\n")
