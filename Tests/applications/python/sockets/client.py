"""client.py CONNECTIONS: errors as Linux has them, and threads of concurrent.futures, at $PEER and $PEER6, port 7000."""

import concurrent.futures
import errno
import hashlib
import os
import selectors
import socket
import sys
import time

PORT = 7000


def check(what, expected, actual):
    assert expected == actual, f"{what}: {actual!r}, expected {expected!r}"
    print("ok:", what, flush=True)


def failure(call, *arguments, **named):
    """The errno that a call fails with; its exception's name where it has none."""
    try:
        call(*arguments, **named)
    except OSError as error:
        return error.errno or type(error).__name__
    return None


def transfer(host, count):
    """One after the other on a blocking socket with a time limit."""
    data = os.urandom(count)
    with socket.create_connection((host, PORT), 60) as connected, connected.makefile("rb") as stream:
        connected.sendall(b"PUT %d\n" % count + data)
        assert stream.readline().strip() == hashlib.md5(data).hexdigest().encode(), f"{host}: another hash of PUT"
        connected.sendall(b"GET %d\n" % count)
        received = stream.read(count)
        assert stream.readline().strip() == hashlib.md5(received).hexdigest().encode(), f"{host}: another hash of GET"
    return len(received)


def many(hosts, connections):
    with concurrent.futures.ThreadPoolExecutor(64) as pool:
        counts = pool.map(lambda number: transfer(hosts[number % 2], 2000 + number), range(connections))
        check(f"{connections} connections of 64 threads", sum(2000 + number for number in range(connections)), sum(counts))
    with concurrent.futures.ProcessPoolExecutor(4) as pool:
        counts = list(pool.map(transfer, hosts * 4, [100_000] * 8))
        check("8 connections of 4 processes", [100_000] * 8, counts)


def asynchronous_connects(host):
    """Nonblocking connects under selectors: one that succeeds, one that is refused, one that gets no answer."""
    with selectors.DefaultSelector() as selector:
        expected = {PORT: 0, PORT + 1: errno.ECONNREFUSED, PORT + 2: None}
        outcome = dict.fromkeys(expected)
        sockets = []
        for port in expected:
            connecting = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
            connecting.setblocking(False)
            begun = connecting.connect_ex((host, port))
            assert begun in (errno.EINPROGRESS, errno.ECONNREFUSED), os.strerror(begun)
            if begun == errno.ECONNREFUSED:
                outcome[port] = begun
            else:
                selector.register(connecting, selectors.EVENT_WRITE, port)
            sockets.append(connecting)
        end = time.monotonic() + 60
        while outcome[PORT] is None or outcome[PORT + 1] is None:
            assert time.monotonic() < end, f"{host}: {outcome}"
            for key, _ in selector.select(1):
                outcome[key.data] = key.fileobj.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                selector.unregister(key.fileobj)
        check(f"{host}: nonblocking connects", expected, outcome)
        for connecting in sockets:
            connecting.close()


def errors(host):
    check(f"{host}: refused", errno.ECONNREFUSED, failure(socket.create_connection, (host, PORT + 1)))
    begin = time.monotonic()
    check(f"{host}: connect's timeout", "TimeoutError", failure(socket.create_connection, (host, PORT + 2), timeout=1))
    check(f"{host}: its time", True, 0.9 < time.monotonic() - begin < 10)
    asynchronous_connects(host)
    with socket.create_connection((host, PORT), 60) as silent:
        silent.sendall(b"SILENT\n")
        silent.settimeout(0.3)
        check(f"{host}: recv's timeout", "TimeoutError", failure(silent.recv, 1))
        silent.setblocking(False)
        check(f"{host}: recv without blocking", errno.EAGAIN, failure(silent.recv, 1))
    with socket.create_connection((host, PORT), 60) as reset:
        reset.sendall(b"RESET\n")
        check(f"{host}: reset", errno.ECONNRESET, failure(reset.recv, 1))
    udp = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
    udp.settimeout(20)
    udp.connect((host, PORT + 1))
    udp.send(b"x")
    check(f"{host}: datagram to a closed port", errno.ECONNREFUSED, failure(udp.recv, 1))
    udp.close()


def unreachable():
    """The kernel asks for a neighbour for three seconds."""
    check("no route", errno.ENETUNREACH, failure(socket.create_connection, (os.environ["NO_ROUTE"], PORT)))
    for name in ("UNREACHABLE", "UNREACHABLE6"):
        check(f"{name}: unreachable", errno.EHOSTUNREACH, failure(socket.create_connection, (os.environ[name], PORT)))


def main():
    hosts = [os.environ["PEER"], os.environ["PEER6"]]
    with concurrent.futures.ThreadPoolExecutor(1) as beside:
        waiting = beside.submit(unreachable)
        many(hosts, int(sys.argv[1]))
        for host in hosts:
            errors(host)
        waiting.result()


main()
