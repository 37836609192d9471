"""What a program's datagram sockets see of a peer outside its network: one line a scenario.

Run natively in the daemon's namespace, or intercepted on a network with `outside=host`: the output must be the same.
Arguments: an IPv4 and an IPv6 address of the host, the same of the peer (outside_peer.py, port 7000).
"""
import errno
import select
import socket
import struct
import sys

HOST4, HOST6, PEER4, PEER6 = sys.argv[1:]
PEER, PEER_V6 = (PEER4, 7000), (PEER6, 7000, 0, 0)
IP_RECVERR, IP_MTU_DISCOVER, IP_PKTINFO, IP_RECVTTL = 11, 10, 8, 12  # linux/in.h


def scenario(function):
    """Runs the function and prints its result, or the error it ended with."""
    try:
        result = function()
    except OSError as error:
        result = "error " + errno.errorcode.get(error.errno, str(error))
    print(f"{function.__name__}: {result}", flush=True)


def udp(family=socket.AF_INET):
    made = socket.socket(family, socket.SOCK_DGRAM)
    made.settimeout(10)
    return made


def attempt(call, *arguments):
    try:
        call(*arguments)
    except OSError as error:
        return errno.errorcode.get(error.errno, str(error))
    return "0"


def poll(made, events, milliseconds=10000):
    poller = select.poll()
    poller.register(made, events)
    found = poller.poll(milliseconds)
    return found[0][1] if found else 0


@scenario
def is_answered():
    made = udp()
    sent = made.sendto(b"one", PEER)
    first = made.recvfrom(100)
    made.sendto(b"", PEER)
    return sent, first, made.recvfrom(100), made.getsockname()[0]


@scenario
def is_answered_by_ipv6():
    made = udp(socket.AF_INET6)
    made.sendto(b"one", PEER_V6)
    return made.recvfrom(100)


@scenario
def is_answered_by_mapped_address():
    made = udp(socket.AF_INET6)
    made.sendto(b"one", ("::ffff:" + PEER4, 7000))
    return made.recvfrom(100)


@scenario
def connects():
    made = udp()
    made.connect(PEER)
    names = made.getsockname()[0], made.getsockname()[1] != 0, made.getpeername()
    made.send(b"two")
    return names, made.recv(100), made.recvfrom(100) if made.send(b"three") else None


@scenario
def connects_elsewhere():
    made = udp(socket.AF_INET6)
    made.connect((PEER6, 9))
    first = made.getsockname()[0], made.getpeername()
    made.connect(PEER_V6)
    made.send(b"x")
    return first, made.getsockname()[0], made.getpeername(), made.recv(100)


@scenario
def is_refused_when_connected():
    made = udp()
    made.connect((PEER4, 9))
    made.send(b"x")
    woken = poll(made, select.POLLIN) != 0
    return woken, attempt(made.recv, 10), attempt(made.send, b"x")


@scenario
def is_refused_when_connected_by_ipv6():
    made = udp(socket.AF_INET6)
    made.connect((PEER6, 9))
    made.send(b"x")
    poll(made, select.POLLIN)
    return attempt(made.recv, 10)


@scenario
def is_not_told_when_not_connected():
    made = udp()
    made.sendto(b"x", (PEER4, 9))
    made.sendto(b"y", PEER)
    return made.recv(10)


@scenario
def is_told_in_the_error_queue():
    made = udp()
    made.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)
    made.sendto(b"quoted", (PEER4, 9))
    poll(made, select.POLLIN)
    told = attempt(made.recv, 10)
    data, control, flags, address = made.recvmsg(100, 512, socket.MSG_ERRQUEUE)
    level, kind, value = control[0]
    return told, data, level, kind, value[:16], value[20:24], flags & socket.MSG_ERRQUEUE, address


@scenario
def is_told_of_an_absent_neighbour():
    made = udp()
    made.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)
    made.sendto(b"x", (PEER4.rsplit(".", 1)[0] + ".77", 9))
    poll(made, select.POLLIN)
    return attempt(made.recv, 10)


@scenario
def has_no_route():
    made = udp()
    return attempt(made.sendto, b"x", ("198.51.100.1", 9)), attempt(made.connect, ("198.51.100.1", 9))


@scenario
def needs_permission_for_broadcast():
    made = udp()
    first = attempt(made.sendto, b"x", (PEER4.rsplit(".", 1)[0] + ".255", 9))
    made.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
    return first, attempt(made.sendto, b"x", (PEER4.rsplit(".", 1)[0] + ".255", 9))


@scenario
def sends_large_datagrams():
    made = udp()
    made.connect(PEER)
    made.send(bytes(60000))
    size = len(made.recv(65536))
    return size, attempt(made.send, bytes(65508))


@scenario
def may_not_fragment():
    made = udp()
    made.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, 2)
    return attempt(made.sendto, bytes(1472), PEER), attempt(made.sendto, bytes(1473), PEER), len(made.recv(2000))


@scenario
def sends_with_its_ttl_and_tos():
    made, made6 = udp(), udp(socket.AF_INET6)
    made.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 17)
    made.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, 0x20)
    made.sendto(b"x", PEER)
    made6.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, 18)
    made6.sendto(b"x", PEER_V6)
    answer = made.recv(100)
    made.setsockopt(socket.IPPROTO_IP, IP_RECVTTL, 1)
    made.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
    made.sendmsg([b"y"], [(socket.IPPROTO_IP, socket.IP_TTL, struct.pack("i", 19))], 0, PEER)
    data, control, _, _ = made.recvmsg(100, 512)
    seen = sorted((kind, value[4:] if kind == IP_PKTINFO else value) for _, kind, value in control)
    return answer, made6.recv(100), data, seen


@scenario
def serves_on_an_address_of_the_host():
    server = udp()
    server.bind((HOST4, 0))
    helper = udp()
    name = server.getsockname()
    helper.sendto(f"to {HOST4} {name[1]}".encode(), PEER)
    data, sender = server.recvfrom(100)
    taken = attempt(udp().bind, name), attempt(udp().bind, ("192.0.2.3", 0)), attempt(server.bind, name)
    server.sendto(b"back", sender)
    return name[0], data.startswith(b"\x00\x40to"), sender, taken, server.recvfrom(100), server.getsockname() == name


@scenario
def takes_from_its_peer_only():
    server = udp()
    server.bind((HOST4, 0))
    server.connect((PEER4, 9))
    udp().sendto(f"to {HOST4} {server.getsockname()[1]}".encode(), PEER)
    helper = udp()
    helper.sendto(b"x", PEER)
    helper.recv(10)
    return poll(server, select.POLLIN, 0)


@scenario
def sends_many():
    made = udp()
    made.connect(PEER)
    numbers = set()
    for number in range(2000):
        made.send(struct.pack("I", number))
        numbers.add(struct.unpack("I", made.recv(100)[2:])[0])
    return len(numbers)
