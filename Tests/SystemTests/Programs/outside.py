"""What a program sees of a peer outside its network: one line a scenario.

Run natively in the daemon's namespace, or intercepted on a network with `outside=host`: the output must be the same.
Arguments: an IPv4 and an IPv6 address of the host, the same of the peer (outside_peer.py, port 7000), and the bytes of
the long transfer.
"""
import errno
import hashlib
import select
import socket
import struct
import sys
import threading

HOST4, HOST6, PEER4, PEER6, LONG = sys.argv[1:]
PEER, PEER_V6 = (PEER4, 7000), (PEER6, 7000)
UNREACHABLE, ABSENT = ("198.51.100.1", 9), (PEER4.rsplit(".", 1)[0] + ".77", 9)


def name(code):
    return errno.errorcode[code] if code else "0"


def scenario(function):
    """Runs the function and prints its result, or the error it ended with."""
    try:
        result = function()
    except OSError as error:
        result = "error " + name(error.errno)
    print(f"{function.__name__}: {result}", flush=True)


def tcp(family=socket.AF_INET):
    made = socket.socket(family)
    made.settimeout(20)
    return made


def ask(request, peer=PEER):
    """A connection on which the peer does what `request` says."""
    made = tcp(socket.AF_INET6 if ":" in peer[0] else socket.AF_INET)
    made.connect(peer)
    made.sendall(request.encode() + b"\n")
    return made


def read_all(connection):
    pieces = []
    while piece := connection.recv(1 << 18):
        pieces.append(piece)
    return b"".join(pieces)


def peer_ended():
    """How the peer saw a connection end."""
    return read_all(ask("ended")).decode()


def poll(connection, events=select.POLLIN | select.POLLOUT | select.POLLRDHUP, milliseconds=10000):
    poller = select.poll()
    poller.register(connection, events)
    found = poller.poll(milliseconds)
    return found[0][1] if found else 0


def attempt(call, *arguments):
    try:
        call(*arguments)
    except OSError as error:
        return name(error.errno)
    return "0"


def connect_in_epoll(address, family=socket.AF_INET):
    """Registered with epoll before the connect: its errno, whether there was one event, the poll mask, and SO_ERROR.

    Not the event's mask: a refused pair's end gets its error a moment before its room (unix_release_sock).
    """
    made = socket.socket(family)
    made.setblocking(False)
    epoll = select.epoll()
    epoll.register(made, select.EPOLLIN | select.EPOLLOUT | select.EPOLLRDHUP | select.EPOLLET)
    at_once = name(made.connect_ex(address))
    count = len(epoll.poll(10))
    return made, (at_once, count, poll(made), name(made.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)))


@scenario
def connects():
    made, outcome = connect_in_epoll(PEER)
    return outcome, made.getpeername(), made.getsockname()[0], name(made.connect_ex(PEER)), name(made.connect_ex(PEER))


@scenario
def connects_by_ipv6():
    made, outcome = connect_in_epoll(PEER_V6, socket.AF_INET6)
    return outcome, made.getpeername(), made.getsockname()[0]


@scenario
def connects_by_mapped_address():
    made, outcome = connect_in_epoll(("::ffff:" + PEER4, 7000), socket.AF_INET6)
    return outcome, made.getpeername(), made.getsockname()[0]


@scenario
def is_refused_later():
    return connect_in_epoll((PEER4, 9))[1], connect_in_epoll((PEER6, 9), socket.AF_INET6)[1]


@scenario
def is_refused():
    return attempt(tcp().connect, (PEER4, 9))


@scenario
def has_no_route():
    made = socket.socket()
    made.setblocking(False)
    return name(made.connect_ex(UNREACHABLE)), name(made.connect_ex(PEER))


@scenario
def reaches_no_neighbour():
    return connect_in_epoll(ABSENT)[1]


@scenario
def transfers_both_ways():
    block, left, digest = bytes(range(255, -1, -1)) * 4096, int(LONG), hashlib.sha256()
    connection = ask(f"duplex {LONG}")

    def send(left):
        while left:
            count = connection.send(block[: min(left, len(block))])
            digest.update(block[:count])
            left -= count
        connection.shutdown(socket.SHUT_WR)

    sender = threading.Thread(target=send, args=(left,))
    sender.start()
    expected, received, count, tail = bytes(range(256)) * 4096, hashlib.sha256(), 0, b""
    while piece := connection.recv(1 << 18):
        data = piece[: max(0, left - count)]
        received.update(data)
        tail += piece[len(data) :]
        count += len(data)
    sender.join()
    wanted = hashlib.sha256()
    while left:
        wanted.update(expected[: min(left, len(expected))])
        left -= min(left, len(expected))
    return count, received.digest() == wanted.digest(), tail.decode().split() == [LONG, digest.hexdigest()]


@scenario
def is_reset():
    return attempt(ask("reset").recv, 1)


@scenario
def is_reset_behind_data():
    connection = ask("reset_behind 1000")
    first = len(connection.recv(600, socket.MSG_WAITALL))
    connection.send(b"g")
    mask = poll(connection, 0)
    return first, mask, len(connection.recv(600)), attempt(connection.recv, 1), connection.recv(1)


@scenario
def goes_on_after_fin():
    connection = ask("finish")
    seen = connection.recv(3, socket.MSG_WAITALL), connection.recv(1), poll(connection)
    connection.sendall(b"still")
    connection.close()
    return seen, peer_ended()


@scenario
def is_reset_after_fin():
    connection = ask("finish_then_reset")
    end = connection.recv(1)
    connection.send(b"g")
    return end, poll(connection, 0), poll(connection), connection.recv(1), attempt(connection.send, b"x")


@scenario
def resets_by_closing_unread():
    connection = ask("send 1000")
    connection.recv(1)
    connection.close()
    return peer_ended()


@scenario
def resets_by_closing_behind_much():
    connection = ask("send 30000000")
    connection.recv(1)
    connection.close()
    return peer_ended()


@scenario
def resets_by_lingering_not_at_all():
    connection = ask("send 10")
    connection.recv(10, socket.MSG_WAITALL)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()
    return peer_ended()


@scenario
def closes():
    connection = ask("send 10")
    connection.recv(10, socket.MSG_WAITALL)
    connection.close()
    return peer_ended()


@scenario
def shuts_reading_down():
    connection = ask("send 10")
    connection.recv(10, socket.MSG_WAITALL)
    connection.shutdown(socket.SHUT_RD)
    end = connection.recv(1)
    connection.sendall(b"k")
    return end, peer_ended()


@scenario
def is_held_back_by_a_slow_peer():
    """What the peer does not read waits, within bounds, and still arrives after the close."""
    connection = ask("late")
    connection.setblocking(False)
    sent = 0
    while poll(connection, select.POLLOUT, 500) == select.POLLOUT and sent < 1 << 26:
        try:
            sent += connection.send(bytes(65536))
        except BlockingIOError:
            pass
    connection.close()
    ask("release").close()
    return 100_000 < sent < 1 << 26, peer_ended() == str(sent)


@scenario
def has_options():
    made = tcp()
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 33)
    made.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, 0x10)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 50_000)
    made.connect(PEER)
    wanted = [
        (socket.IPPROTO_TCP, socket.TCP_NODELAY), (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE),
        (socket.IPPROTO_IP, socket.IP_TOS), (socket.SOL_SOCKET, socket.SO_KEEPALIVE),
        (socket.SOL_SOCKET, socket.SO_RCVBUF), (socket.IPPROTO_TCP, socket.TCP_MAXSEG),
    ]
    before = [made.getsockopt(*option) for option in wanted]
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 0)
    info = made.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
    return before, made.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY), info[0], len(info), info[16:24]


def accepts(address, family):
    listener = tcp(family)
    listener.bind((address, 0))
    listener.listen(8)
    port = listener.getsockname()[1]
    client = ask(f"connect {address} {port}")
    ready = poll(listener, select.POLLIN)
    connection, peer = listener.accept()
    names = listener.getsockname()[0], peer[0], connection.getsockname() == listener.getsockname()
    told = connection.getpeername() == peer, read_all(connection)
    connection.sendall(b"world")
    connection.close()
    return ready, names, told, read_all(client)


@scenario
def accepts_from_outside():
    return accepts(HOST4, socket.AF_INET)


@scenario
def accepts_from_outside_by_ipv6():
    return accepts(HOST6, socket.AF_INET6)


@scenario
def ends_its_listener():
    listener = tcp()
    listener.bind((HOST4, 0))
    listener.listen(8)
    address = listener.getsockname()
    listener.close()
    return attempt(tcp().connect, address)


@scenario
def binds_as_the_host_would():
    listener = tcp()
    listener.bind((HOST4, 7777))
    listener.listen(8)
    taken, foreign = attempt(tcp().bind, (HOST4, 7777)), attempt(tcp().bind, ("192.0.2.3", 0))
    made = tcp()
    made.bind((HOST4, 0))
    again = attempt(made.bind, (HOST4, 0)), attempt(listener.bind, (HOST4, 1))
    made.connect((HOST4, 7777))
    _, peer = listener.accept()
    return taken, foreign, again, peer == made.getsockname(), made.getpeername()


@scenario
def accepts_many_later():
    """More than the program's end holds accept records for, and more than it has accepted."""
    listener = tcp()
    listener.bind((HOST4, 0))
    listener.listen(4000)
    clients = []
    for number in range(600):
        client = tcp()
        client.connect(listener.getsockname())
        client.sendall(b"%04d" % number)
        clients.append(client)
    numbers = set()
    for _ in clients:
        connection, _ = listener.accept()
        numbers.add(connection.recv(4, socket.MSG_WAITALL))
        connection.close()
    return len(numbers)
