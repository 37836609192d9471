"""Stands in for mongod where none is installed: MongoDB's wire protocol, as much as pymongo needs to insert, find and drop.

OP_MSG as in mongodb/specifications (message/OP_MSG.md), and the OP_QUERY that a driver's first hello still is. Documents are
kept in memory; a filter compares fields for equality, which is not much of MongoDB's language, but what the tests ask.

    mongo_server.py PORT      IPv4 and IPv6, a thread for each connection
"""

import itertools
import signal
import socket
import socketserver
import struct
import sys
import threading

import bson

OP_REPLY, OP_QUERY, OP_MSG = 1, 2004, 2013
CHECKSUM_PRESENT, MORE_TO_COME = 1, 2  # flags of OP_MSG
MAX_DOCUMENT, MAX_MESSAGE, MAX_BATCH = 16 << 20, 48_000_000, 100_000  # mongod's own
FIRST_BATCH = 101  # documents, where the driver does not say
HELLO = ("hello", "ismaster", "isMaster")


class Failure(Exception):
    """What a command answers with instead: MongoDB's code and its words."""

    def __init__(self, code, words):
        super().__init__(words)
        self.code = code


class Store:
    def __init__(self):
        self.lock = threading.Lock()
        self.collections = {}  # by "database.collection": documents by _id
        self.cursors = {}  # by number: what is left to send
        self.numbers = itertools.count(1)

    def run(self, command):
        name = next(iter(command))
        if name in HELLO:
            return hello()
        method = getattr(self, "run_" + name, None)
        if method is None:
            raise Failure(59, f"no such command: '{name}'")
        return method(command, f"{command.get('$db', 'test')}.{command[name]}")

    def run_ping(self, command, _):
        return {}

    def run_endSessions(self, command, _):
        return {}

    def run_insert(self, command, where):
        errors = []
        with self.lock:
            collection = self.collections.setdefault(where, {})
            for index, document in enumerate(command["documents"]):
                if document["_id"] in collection:
                    errors.append({"index": index, "code": 11000, "errmsg": f"E11000 duplicate key error collection: {where}"})
                    if command.get("ordered", True):
                        break
                else:
                    collection[document["_id"]] = document
            done = index + 1 - len(errors)
        return {"n": done, **({"writeErrors": errors} if errors else {})}

    def run_find(self, command, where):
        wanted = command.get("filter", {})
        with self.lock:
            collection = self.collections.get(where, {})
            if "_id" in wanted and not isinstance(wanted["_id"], dict):
                candidates = [collection[wanted["_id"]]] if wanted["_id"] in collection else []
            else:
                candidates = list(collection.values())
        found = [one for one in candidates if all(one.get(key) == value for key, value in wanted.items())]
        for key, direction in reversed(list(command.get("sort", {}).items())):
            found.sort(key=lambda one: one[key], reverse=direction < 0)
        if command.get("limit"):
            found = found[:command["limit"]]
        batch, left = take(found, command.get("batchSize", FIRST_BATCH))
        number = 0
        if left and not command.get("singleBatch"):
            with self.lock:
                number = next(self.numbers)
                self.cursors[number] = left
        return {"cursor": {"id": bson.Int64(number), "ns": where, "firstBatch": batch}}

    def run_getMore(self, command, _):
        number = command["getMore"]
        with self.lock:
            if number not in self.cursors:
                raise Failure(43, f"cursor id {number} not found")
            batch, left = take(self.cursors.pop(number), command.get("batchSize", MAX_BATCH))
            if left:
                self.cursors[number] = left
        where = f"{command['$db']}.{command['collection']}"
        return {"cursor": {"id": bson.Int64(number if left else 0), "ns": where, "nextBatch": batch}}

    def run_killCursors(self, command, _):
        with self.lock:
            killed = [number for number in command["cursors"] if self.cursors.pop(number, None) is not None]
        return {"cursorsKilled": killed, "cursorsNotFound": [], "cursorsAlive": [], "cursorsUnknown": []}

    def run_count(self, command, where):
        with self.lock:
            return {"n": len(self.collections.get(where, {}))}

    def run_drop(self, command, where):
        with self.lock:
            if self.collections.pop(where, None) is None:
                raise Failure(26, "ns not found")
        return {"ns": where}


def hello():
    return {"helloOk": True, "ismaster": True, "isWritablePrimary": True, "maxBsonObjectSize": MAX_DOCUMENT,
            "maxMessageSizeBytes": MAX_MESSAGE, "maxWriteBatchSize": MAX_BATCH, "minWireVersion": 0, "maxWireVersion": 21}


def take(documents, count):
    """The next batch, which has to fit in a message, and what is left."""
    size = 0
    for index, document in enumerate(documents[:count]):
        size += len(bson.encode(document))
        if size > MAX_DOCUMENT and index > 0:
            return documents[:index], documents[index:]
    return documents[:count], documents[count:]


class Connection(socketserver.BaseRequestHandler):
    def setup(self):
        self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.file = self.request.makefile("rb")
        self.numbers = itertools.count(1)

    def finish(self):
        self.file.close()

    def handle(self):
        while header := self.file.read(16):
            length, request, _, operation = struct.unpack("<iiii", header)
            body = self.file.read(length - 16)
            if length > MAX_MESSAGE or len(body) != length - 16:
                raise ValueError(f"a message of {length} bytes ends after {len(body) + 16}")
            if operation == OP_MSG:
                flags, command = parse_message(body)
                reply = self.answer(command)
                if not flags & MORE_TO_COME:
                    self.send(OP_MSG, request, struct.pack("<IB", 0, 0) + bson.encode(reply))
            elif operation == OP_QUERY:
                end = body.index(b"\0", 4) + 1 + 8
                reply = self.answer(bson.decode(body[end:]))
                self.send(OP_REPLY, request, struct.pack("<iqii", 8, 0, 0, 1) + bson.encode(reply))
            else:
                raise ValueError(f"unknown operation {operation}")

    def answer(self, command):
        try:
            return {**self.server.store.run(command), "ok": 1.0}
        except Failure as failure:
            return {"ok": 0.0, "code": failure.code, "errmsg": str(failure)}

    def send(self, operation, request, body):
        self.request.sendall(struct.pack("<iiii", 16 + len(body), next(self.numbers), request, operation) + body)


def parse_message(body):
    """Sections of kind 0 are the command, of kind 1 a list of its documents."""
    flags, = struct.unpack_from("<I", body)
    end = len(body) - (4 if flags & CHECKSUM_PRESENT else 0)
    position, command = 4, {}
    while position < end:
        kind = body[position]
        length, = struct.unpack_from("<i", body, position + 1)
        section = body[position + 1:position + 1 + length]
        if kind == 0:
            command = {**bson.decode(section), **command}
        else:
            name_end = section.index(b"\0", 4)
            command[section[4:name_end].decode()] = bson.decode_all(section[name_end + 1:])
        position += 1 + length
    return flags, command


class Server(socketserver.ThreadingTCPServer):
    address_family = socket.AF_INET6
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 128

    def server_bind(self):
        self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        super().server_bind()


def main():
    with Server(("::", int(sys.argv[1])), Connection) as server:
        server.store = Store()
        signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
        server.serve_forever(poll_interval=0.1)


if __name__ == "__main__":
    main()
