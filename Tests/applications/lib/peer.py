#!/usr/bin/env python3
"""The peer of a language's socket programs, on the kernel's stack: a server for their clients, a client for their servers.

    peer.py serve PORT                                 TCP and UDP, IPv4 and IPv6; and at PORT + 2 a listener whose queue is full
    peer.py drive PORT BYTES CONNECTIONS HOST…         each host: big transfers, CONNECTIONS at once, rude clients
    peer.py drive-udp PORT SMALLEST HOST…              datagrams of all sizes, from SMALLEST on, come back

The protocol over TCP is lines, as many in a connection as the client likes:

    PUT n     n bytes follow; the answer is their md5 and a line feed
    GET n     the answer is n bytes, their md5 and a line feed
    ECHO      what follows comes back, until the client's end; then the server ends, too
    SILENT    no answer
    RESET     the server ends the connection by a reset

Over UDP each datagram comes back as it is. Nobody listens at PORT + 1.
"""

import asyncio
import hashlib
import os
import resource
import socket
import struct
import sys
import threading

CHUNK = 1 << 16
LIMIT_SECONDS = 240  # for anything that is waited for; the test has its own
UDP_SIZES = (0, 1, 2, 512, 1471, 1472, 1473, 1500, 4000, 9000, 32768, 60000, 65000)
UDP_COUNT = 200
UDP_RETRY_SECONDS = 2


def reset(writer):
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def receive_hash(reader, count):
    digest = hashlib.md5()
    while count > 0:
        data = await reader.read(min(count, CHUNK))
        if not data:
            raise EOFError(f"the stream ended {count} bytes early")
        digest.update(data)
        count -= len(data)
    return digest.hexdigest().encode()


async def send_random(writer, count):
    digest = hashlib.md5()
    while count > 0:
        data = os.urandom(min(count, CHUNK))
        digest.update(data)
        writer.write(data)
        await writer.drain()
        count -= len(data)
    return digest.hexdigest().encode()


async def serve_one(reader, writer):
    try:
        while line := (await reader.readline()).split():
            if line[0] == b"PUT":
                writer.write(await receive_hash(reader, int(line[1])) + b"\n")
            elif line[0] == b"GET":
                writer.write(await send_random(writer, int(line[1])) + b"\n")
            elif line[0] == b"ECHO":
                while data := await reader.read(CHUNK):
                    writer.write(data)
                    await writer.drain()
                break
            elif line[0] == b"SILENT":
                await reader.read()
            elif line[0] == b"RESET":
                reset(writer)
                return
            else:
                raise ValueError(f"no such request: {line}")
            await writer.drain()
    except (ConnectionError, EOFError) as error:
        print("peer: a client left:", repr(error), flush=True)
    finally:
        writer.close()


def udp_echo(udp):
    """A thread's work: asyncio's transports do not send empty datagrams."""
    while True:
        data, address = udp.recvfrom(CHUNK)
        udp.sendto(data, address)


def bound(family, kind, address, port):
    """A socket of one family alone."""
    made = socket.socket(family, kind)
    if family == socket.AF_INET6:
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    made.bind((address, port))
    return made


def full_listener(family, loopback, port):
    """Whose queue of one is taken, so that it answers no SYN."""
    listener = bound(family, socket.SOCK_STREAM, "", port)
    listener.listen(0)
    return listener, socket.create_connection((loopback, port))


async def serve(port):
    kept = []
    for family, loopback in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
        kept.append(full_listener(family, loopback, port + 2))
        udp = bound(family, socket.SOCK_DGRAM, "", port)
        threading.Thread(target=udp_echo, args=(udp,), daemon=True).start()
    server = await asyncio.start_server(serve_one, None, port, backlog=4096)
    await server.serve_forever()


async def put(reader, writer, count):
    writer.write(b"PUT %d\n" % count)
    sent = await send_random(writer, count)
    answer = (await reader.readline()).strip()
    assert answer == sent, f"PUT {count}: sent {sent}, the server has {answer}"


async def get(reader, writer, count):
    writer.write(b"GET %d\n" % count)
    received = await receive_hash(reader, count)
    answer = (await reader.readline()).strip()
    assert answer == received, f"GET {count}: received {received}, the server sent {answer}"


async def echo(reader, writer, count):
    """All the way and back, while the client's half is closed before the rest has come."""
    writer.write(b"ECHO\n")
    receiving = asyncio.ensure_future(receive_hash(reader, count))
    sent = await send_random(writer, count)
    writer.write_eof()
    received = await receiving
    assert sent == received, f"ECHO {count}: sent {sent}, received {received}"
    assert await reader.read() == b"", "ECHO: bytes behind the end"


async def drive_host(host, port, count, connections):
    reader, writer = await asyncio.open_connection(host, port)
    await put(reader, writer, count)
    await get(reader, writer, count)
    await echo(reader, writer, count)
    writer.close()
    print(f"ok: {host}: PUT, GET and ECHO of {count} bytes", flush=True)

    waiting = asyncio.Semaphore(64)  # SYNs at once: a backlog is the server's choice, to be lost is not what is tested

    async def connect():
        async with waiting:
            return await asyncio.open_connection(host, port)

    streams = await asyncio.gather(*(connect() for _ in range(connections)))
    await asyncio.gather(*(put(*stream, 3000) for stream in streams))
    await asyncio.gather(*(get(*stream, 3000) for stream in streams))
    for _, writer in streams:
        writer.close()
    print(f"ok: {host}: {connections} connections at once", flush=True)

    for beginning in (b"", b"PUT 1000\nshort", b"GET 10000000\n"):  # who leaves early, by a reset
        _, writer = await asyncio.open_connection(host, port)
        writer.write(beginning)
        await writer.drain()
        reset(writer)
    reader, writer = await asyncio.open_connection(host, port)
    await put(reader, writer, 3000)
    writer.close()
    print(f"ok: {host}: clients that reset", flush=True)


def drive_udp(host, port, smallest):
    """Datagrams may be lost where a buffer is full, so each is asked for again until it has come."""
    udp = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
    udp.settimeout(UDP_RETRY_SECONDS)
    udp.connect((host, port))
    lost = 0
    for number in range(UDP_COUNT):
        size = max(smallest, UDP_SIZES[number % len(UDP_SIZES)])
        data = os.urandom(size)
        for _ in range(10):
            udp.send(data)
            try:
                answer = udp.recv(CHUNK)
                while answer != data:  # the late answer to an earlier attempt
                    answer = udp.recv(CHUNK)
                break
            except TimeoutError:
                lost += 1
        else:
            raise AssertionError(f"{host}: a datagram of {size} bytes does not come back")
    assert lost <= UDP_COUNT // 20, f"{host}: {lost} datagrams lost"
    print(f"ok: {host}: {UDP_COUNT} datagrams, {lost} lost", flush=True)


async def drive(port, count, connections, hosts):
    for host in hosts:
        await asyncio.wait_for(drive_host(host, port, count, connections), LIMIT_SECONDS)


def main():
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 16384), hard))
    command, port, rest = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
    if command == "serve":
        asyncio.run(serve(port))
    elif command == "drive":
        asyncio.run(drive(port, int(rest[0]), int(rest[1]), rest[2:]))
    elif command == "drive-udp":
        for host in rest[1:]:
            drive_udp(host, port, int(rest[0]))
    else:
        sys.exit(__doc__)


main()
