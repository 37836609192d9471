#!/usr/bin/env python3
"""datagrams.py serve ADDRESS PORT | sizes ADDRESS PORT | ports ADDRESS PORT COUNT

serve echoes, until TERM, what carries a right digest, and says how many did and how many did not.
sizes sends datagrams of many sizes by one connected socket, ports small ones by many sockets, each from a port of its own;
both check that what comes back is what was sent, to the socket that sent it. What does not come back within a second is
sent again, and counted as lost. Prints "ok COUNT lost COUNT".
"""

import hashlib
import os
import random
import select
import signal
import socket
import sys

LARGEST = 65507  # bytes in one IPv4 datagram without options
DIGEST = 16
REPEAT_SECONDS, REPEATS = 1.0, 15
AT_ONCE = 32


def family(address):
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def make(size):
    """Random bytes and their digest; what is too small for one is as random as it can be."""
    if size <= DIGEST:
        return os.urandom(size)
    body = os.urandom(size - DIGEST)
    return body + hashlib.blake2b(body, digest_size=DIGEST).digest()


def is_right(datagram):
    return len(datagram) <= DIGEST or hashlib.blake2b(datagram[:-DIGEST], digest_size=DIGEST).digest() == datagram[-DIGEST:]


class Terminated(Exception):
    pass


def terminate(*_):
    raise Terminated


def serve(address, port):
    signal.signal(signal.SIGTERM, terminate)
    server = socket.socket(family(address), socket.SOCK_DGRAM)
    server.bind((address, port))
    print("listening", flush=True)
    right = wrong = 0
    try:
        while True:
            datagram, peer = server.recvfrom(65536)
            if is_right(datagram):
                right += 1
                server.sendto(datagram, peer)
            else:
                wrong += 1
    except Terminated:
        print("echoed", right, "wrong", wrong)


class Question:
    """One datagram of one socket that is under way."""

    def __init__(self, sock, peer, datagram):
        self.sock, self.peer, self.datagram, self.lost = sock, peer, datagram, 0

    def send(self):
        if self.peer:
            self.sock.sendto(self.datagram, self.peer)
        else:
            self.sock.send(self.datagram)

    def answer(self):
        """True if it has come back; else what came was an older one's repetition."""
        datagram, peer = self.sock.recvfrom(65536)
        if peer[:2] != PEER:
            sys.exit(f"an answer from {peer}, not {PEER}")
        if datagram == self.datagram:
            return True
        if not is_right(datagram):
            sys.exit(f"{len(datagram)} wrong bytes")
        if self.lost == 0:
            sys.exit(f"another answer, of {len(datagram)} bytes, where {len(self.datagram)} were sent")
        return False


def ask(questions):
    """All of them, AT_ONCE under way. Returns how many were lost."""
    poller, waiting, lost = select.poll(), {}, 0
    questions = iter(questions)
    following = next(questions, None)
    while waiting or following:
        while following and len(waiting) < AT_ONCE:
            poller.register(following.sock, select.POLLIN)
            waiting[following.sock.fileno()] = following
            following.send()
            following = next(questions, None)
        ready = poller.poll(REPEAT_SECONDS * 1000)
        for number, _ in ready:
            if waiting[number].answer():
                poller.unregister(number)
                del waiting[number]
        if not ready:
            for question in waiting.values():
                question.lost += 1
                lost += 1
                if question.lost > REPEATS:
                    sys.exit(f"{len(question.datagram)} bytes from {question.sock.getsockname()} get no answer")
                question.send()
    return lost


def ask_sizes():
    sizes = [*range(0, 64), *range(1400, 1560), 2000, 4096, 8191, 8192, 9000, 16384, 32768, 65000, LARGEST]
    sizes += [random.randrange(LARGEST) for _ in range(64)]
    random.shuffle(sizes)
    with socket.socket(family(PEER[0]), socket.SOCK_DGRAM) as sock:
        sock.connect(PEER)
        # One at a time: there is but one socket.
        lost = sum(ask([Question(sock, None, make(size))]) for size in sizes)
        print("ok", len(sizes), "lost", lost)


def ask_ports(count):
    sockets = []
    for number in range(count):
        sock = socket.socket(family(PEER[0]), socket.SOCK_DGRAM)
        if number % 2:
            sock.connect(PEER)
        sockets.append(sock)
    lost = ask(Question(sock, None if number % 2 else PEER, make(random.randrange(32, 1400))) for number, sock in enumerate(sockets))
    ports = {sock.getsockname()[1] for sock in sockets}
    if len(ports) != count:
        sys.exit(f"{count} sockets have {len(ports)} different ports")
    print("ok", count, "lost", lost)


what, PEER = sys.argv[1], (sys.argv[2], int(sys.argv[3]))
if what == "serve":
    serve(*PEER)
elif what == "sizes":
    ask_sizes()
else:
    ask_ports(int(sys.argv[4]))
