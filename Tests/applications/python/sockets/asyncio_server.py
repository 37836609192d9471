"""asyncio_server.py PORT: speaks lib/peer.py's protocol by streams and by datagrams."""

import asyncio
import hashlib
import os
import signal
import socket
import sys

CHUNK = 1 << 16


async def put(reader, writer, left):
    digest = hashlib.md5()
    while left > 0:
        data = await reader.readexactly(min(left, CHUNK))
        digest.update(data)
        left -= len(data)
    writer.write(digest.hexdigest().encode() + b"\n")


async def get(reader, writer, left):
    digest = hashlib.md5()
    while left > 0:
        data = os.urandom(min(left, CHUNK))
        digest.update(data)
        writer.write(data)
        await writer.drain()
        left -= len(data)
    writer.write(digest.hexdigest().encode() + b"\n")


async def connection(reader, writer):
    try:
        async for line in reader:
            word, *count = line.split()
            if word == b"ECHO":
                while data := await reader.read(CHUNK):
                    writer.write(data)
                    await writer.drain()
                writer.write_eof()
                break
            await {b"PUT": put, b"GET": get}[word](reader, writer, int(count[0]))
            await writer.drain()
    except (ConnectionError, asyncio.IncompleteReadError) as error:
        print("a client left:", repr(error))
    finally:
        writer.close()


class Echo(asyncio.DatagramProtocol):
    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, address):
        self.transport.sendto(data, address)

    def error_received(self, error):
        print("datagrams:", repr(error))


def udp_socket(family, address, port):
    udp = socket.socket(family, socket.SOCK_DGRAM)
    if family == socket.AF_INET6:
        udp.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    udp.bind((address, port))
    return udp


async def main(port):
    loop = asyncio.get_running_loop()
    ending = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, ending.set)
    for family, address in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
        await loop.create_datagram_endpoint(Echo, sock=udp_socket(family, address, port))
    async with await asyncio.start_server(connection, ["0.0.0.0", "::"], port, backlog=4096):
        await ending.wait()


asyncio.run(main(int(sys.argv[1])))
