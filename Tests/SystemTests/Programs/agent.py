"""Makes socket calls as told on stdin, one request a line; answers `ok VALUES` or `error ERRNO-NAME` on stdout.

Sockets have names chosen by the requester. Blocking calls block. Run natively or under the interposed library: the
answers must be the same.
"""
import array
import errno
import fcntl
import hashlib
import os
import random
import select
import signal
import socket
import struct
import sys
import termios
import time

sockets = {}
SHUTDOWN = {"rd": socket.SHUT_RD, "wr": socket.SHUT_WR, "rdwr": socket.SHUT_RDWR}


def data(seed, count):
    """`count` bytes that depend on `seed` only."""
    return random.Random(int(seed)).randbytes(int(count))


def receive(sock, limit):
    """Up to `limit` bytes, less at end of file: (count, sha256)."""
    digest, count = hashlib.sha256(), 0
    while count < limit:
        piece = sock.recv(min(262144, limit - count))
        if not piece:
            break
        digest.update(piece)
        count += len(piece)
    return f"{count} {digest.hexdigest()}"


def endpoint(address):
    """`address port` of a socket address."""
    return f"{address[0]} {address[1]}"


def op_socket(name, family="4", kind="tcp"):
    sockets[name] = socket.socket(
        socket.AF_INET6 if family == "6" else socket.AF_INET,
        socket.SOCK_DGRAM if kind == "udp" else socket.SOCK_STREAM,
    )


def op_bind(name, address, port):
    sockets[name].bind((address, int(port)))


def op_reuse(name):
    sockets[name].setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)


def op_listen(name, backlog="16"):
    sockets[name].listen(int(backlog))


def op_accept(name, new):
    sockets[new], peer = sockets[name].accept()
    return endpoint(peer)


def op_connect(name, address, port):
    sockets[name].connect((address, int(port)))


def op_unblock(name):
    sockets[name].setblocking(False)


def op_block(name):
    sockets[name].setblocking(True)


def op_connectnow(name, address, port, milliseconds="20000"):
    """Non-blocking connect, then poll for its outcome: SO_ERROR's name, OK, or PENDING when the bound passed."""
    sockets[name].setblocking(False)
    code = sockets[name].connect_ex((address, int(port)))
    if code not in (0, errno.EINPROGRESS):
        return errno.errorcode[code]
    poller = select.poll()
    poller.register(sockets[name], select.POLLOUT)
    if not poller.poll(int(milliseconds)):
        return "PENDING"
    code = sockets[name].getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    sockets[name].setblocking(True)
    return errno.errorcode[code] if code else "OK"


def op_send(name, seed, count):
    payload = data(seed, count)
    sockets[name].sendall(payload)
    return hashlib.sha256(payload).hexdigest()


def op_offer(name, count):
    """How many of `count` bytes a send takes that does not wait."""
    try:
        return sockets[name].send(bytes(int(count)), socket.MSG_DONTWAIT)
    except BlockingIOError:
        return 0


def op_sendforever(name, seconds):
    """Sends until an error; the time bound is a safety net."""
    payload = bytes(65536)
    end = time.monotonic() + float(seconds)
    while time.monotonic() < end:
        sockets[name].sendall(payload)
    return "sent until the bound"


def op_recv(name, count):
    return receive(sockets[name], int(count))


def op_recvall(name):
    return receive(sockets[name], 1 << 62)


def op_recvprefix(name, seed, limit):
    """Receives until the end or an error: how many bytes, and whether they are the first of those that `send` sends."""
    received = bytearray()
    try:
        while chunk := sockets[name].recv(65536):
            received += chunk
    except OSError:
        pass
    return f"{len(received)} {'whole' if data(seed, limit).startswith(received) else 'spoilt'}"


def op_unread(name):
    """How many bytes could be received without waiting."""
    count = array.array("i", [0])
    fcntl.ioctl(sockets[name], termios.FIONREAD, count)
    return count[0]


def op_receivebuffer(name, count):
    sockets[name].setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, int(count))


def op_shutdown(name, how):
    sockets[name].shutdown(SHUTDOWN[how])


def op_close(name):
    sockets.pop(name).close()


def op_reset(name):
    """Closes with RST (SO_LINGER with 0 seconds)."""
    sockets[name].setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sockets.pop(name).close()


def op_local(name):
    return endpoint(sockets[name].getsockname())


def op_remote(name):
    return endpoint(sockets[name].getpeername())


def op_rawsocket():
    """Whether socket() works now; the socket is closed again."""
    socket.socket(socket.AF_INET, socket.SOCK_STREAM).close()


def op_poll(name, milliseconds):
    """The poll mask within a bound."""
    poller = select.poll()
    poller.register(sockets[name], select.POLLIN | select.POLLOUT)
    found = poller.poll(int(milliseconds))
    return str(found[0][1] if found else 0)


def op_sendto(name, seed, count, address, port):
    """Sends one datagram; its digest."""
    payload = data(seed, count)
    sockets[name].sendto(payload, (address, int(port)))
    return hashlib.sha256(payload).hexdigest()


def op_flood(name, count, size, address, port):
    """Sends `count` datagrams whose first bytes number them."""
    for number in range(int(count)):
        sockets[name].sendto(struct.pack("!I", number).ljust(int(size), b"."), (address, int(port)))


def op_recvfrom(name):
    """Receives one datagram: count, digest, address, port."""
    payload, address = sockets[name].recvfrom(70000)
    return f"{len(payload)} {hashlib.sha256(payload).hexdigest()} {endpoint(address)}"


def op_drain(name, milliseconds):
    """Receives flooded datagrams until none comes for so long: how many, whether their numbers only rose, and whether
    nothing but the padding was behind them."""
    sockets[name].settimeout(int(milliseconds) / 1000)
    last, count, rising, whole = -1, 0, True, True
    try:
        while True:
            datagram = sockets[name].recv(70000)
            number = struct.unpack("!I", datagram[:4])[0]
            rising, last, count = rising and number > last, number, count + 1
            whole = whole and not datagram[4:].strip(b".")
    except TimeoutError:
        pass
    sockets[name].settimeout(None)
    return f"{count} {'rising' if rising else 'disordered'} {'whole' if whole else 'spoilt'}"


def op_allow(name, what):
    option = {"broadcast": socket.SO_BROADCAST, "reuse": socket.SO_REUSEADDR}[what]
    sockets[name].setsockopt(socket.SOL_SOCKET, option, 1)


def op_join(name, group, interface):
    """Joins a group on the interface with this address (IPv4) or index (IPv6)."""
    if ":" in group:
        request = socket.inet_pton(socket.AF_INET6, group) + struct.pack("@I", int(interface))
        sockets[name].setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, request)
    else:
        request = socket.inet_aton(group) + socket.inet_aton(interface)
        sockets[name].setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, request)


def op_via(name, interface):
    """Sends to groups go out by the interface with this address (IPv4) or index (IPv6)."""
    if "." in interface:
        sockets[name].setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(interface))
    else:
        sockets[name].setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, int(interface))


def op_index():
    """The index of the interface that is not lo."""
    return str(max(index for index, name in socket.if_nameindex() if name != "lo"))


def main():
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    print("hello", flush=True)
    announced = False
    while line := os.fsdecode(sys.stdin.buffer.readline()):
        name, *arguments = line.split()
        if name == "announce":
            announced = True
            print("ok", flush=True)
            continue
        if announced:
            announced = False
            print("begun", flush=True)
        try:
            answer = globals()["op_" + name](*arguments)
            print("ok" if answer is None else f"ok {answer}", flush=True)
        except OSError as error:
            print(f"error {errno.errorcode.get(error.errno, error)}", flush=True)


main()
