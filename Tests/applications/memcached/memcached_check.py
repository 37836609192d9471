"""Clients of a memcached that check every value: threads with a connection each, which pipeline; and by UDP.

    memcached_check.py tcp ADDRESS PORT CLIENTS KEYS BYTES   every client sets KEYS values of up to BYTES, and gets them
    memcached_check.py udp ADDRESS PORT REQUESTS KEYS BYTES  gets by UDP what the first of those clients has set

A value is the SHAKE128 of its key, so that whoever gets it can tell that it is the right one.
"""

import hashlib
import random
import socket
import struct
import sys
import threading
import time

BATCH = 50  # requests on the way at once
MAX_UDP_RESPONSE = 65536
TRIES = 5  # of a request by UDP, which may get lost
PATIENCE_SECONDS = 2  # for its answer


def value(key, length):
    return hashlib.shake_128(key.encode()).digest(length)


def length_of(key, limit):
    """Mostly small, some of the limit."""
    return int(limit ** random.Random(key).random())


class Client:
    def __init__(self, address, port, number, keys, limit):
        self.socket = socket.create_connection((address, port), 60)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.file = self.socket.makefile("rb")
        self.keys = [f"client{number}-{key}" for key in range(keys)]
        self.limit = limit
        self.bytes = 0

    def batches(self):
        for start in range(0, len(self.keys), BATCH):
            yield self.keys[start:start + BATCH]

    def set_all(self):
        for keys in self.batches():
            request = bytearray()
            for key in keys:
                data = value(key, length_of(key, self.limit))
                request += b"set %s 7 0 %d\r\n%s\r\n" % (key.encode(), len(data), data)
                self.bytes += len(data)
            self.socket.sendall(request)
            for key in keys:
                self.expect(b"STORED\r\n", self.file.readline(), key)

    def get_all(self):
        """One by one, pipelined, and by keys together."""
        for number, keys in enumerate(self.batches()):
            if number % 2:
                self.socket.sendall(b"".join(b"get %s\r\n" % key.encode() for key in keys))
            else:
                self.socket.sendall(b"get %s\r\n" % " ".join(keys).encode())
            for index, key in enumerate(keys):
                self.expect_value(key)
                if number % 2 or index == len(keys) - 1:
                    self.expect(b"END\r\n", self.file.readline(), key)

    def expect_value(self, key):
        length = length_of(key, self.limit)
        self.expect(b"VALUE %s 7 %d\r\n" % (key.encode(), length), self.file.readline(), key)
        self.expect(value(key, length) + b"\r\n", self.file.read(length + 2), key)
        self.bytes += length

    @staticmethod
    def expect(wanted, got, key):
        if wanted != got:
            raise ValueError(f"{key}: {got[:60]!r} of {len(got)} bytes, expected {wanted[:60]!r} of {len(wanted)}")

    def run(self, errors):
        try:
            self.set_all()
            self.get_all()
            self.socket.sendall(b"quit\r\n")
            self.expect(b"", self.file.read(), "quit")
        except (OSError, ValueError) as error:
            errors.append(error)
        finally:
            self.file.close()
            self.socket.close()


def tcp(address, port, clients, keys, limit):
    everybody = [Client(address, port, number, keys, limit) for number in range(clients)]
    errors = []
    threads = [threading.Thread(target=client.run, args=(errors,)) for client in everybody]
    begin = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        sys.exit(f"{len(errors)} of {clients} clients failed; the first: {errors[0]}")
    seconds = time.monotonic() - begin
    print(f"{clients} clients, {2 * clients * keys} requests, {sum(client.bytes for client in everybody) / 1e6:.0f} MB, "
          f"all values right, {2 * clients * keys / seconds:.0f} requests/s")


def udp(address, port, requests, keys, limit):
    """memcached's frame: request id, number of the datagram, how many there are, 0 (16 bits each)."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    again = 0
    with socket.socket(family, socket.SOCK_DGRAM) as client:
        client.settimeout(PATIENCE_SECONDS)
        client.connect((address, port))
        for number in range(requests):
            key = f"client0-{number % keys}"
            length = length_of(key, limit)
            wanted = b"VALUE %s 7 %d\r\n%s\r\nEND\r\n" % (key.encode(), length, value(key, length))
            for attempt in range(TRIES):
                identifier = (number * TRIES + attempt) % 65536
                client.send(struct.pack("!HHHH", identifier, 0, 1, 0) + b"get %s\r\n" % key.encode())
                answer = receive(client, identifier)
                if answer is not None:
                    break
                again += 1
            if answer != wanted:
                got = "no answer" if answer is None else f"{answer[:60]!r} of {len(answer)} bytes"
                sys.exit(f"by UDP, {key}: {got}, expected {wanted[:60]!r} of {len(wanted)}")
    print(f"{requests} requests by UDP, all values right, {again} asked again")


def receive(client, identifier):
    """The datagrams of one answer, put together; None if they do not come in time."""
    parts, total = {}, None
    while total is None or len(parts) < total:
        try:
            datagram = client.recv(MAX_UDP_RESPONSE)
        except socket.timeout:
            return None
        whose, number, count, _ = struct.unpack("!HHHH", datagram[:8])
        if whose == identifier:
            parts[number], total = datagram[8:], count
    return b"".join(parts[number] for number in range(total))


if __name__ == "__main__":
    mode, where = sys.argv[1], (sys.argv[2], int(sys.argv[3]))
    if mode == "tcp":
        tcp(*where, *map(int, sys.argv[4:7]))
    else:
        udp(*where, *map(int, sys.argv[4:7]))
