"""The internet, for outside.py and outside_datagrams.py: serves their requests on port 7000 of the addresses given, until
stdin ends. Datagrams are sent back, behind the TTL (hop limit) and TOS (traffic class) they came with.

A connection begins with one line that says how it is to go on. How connections ended is kept, for the request `ended`.
"""
import hashlib
import queue
import socket
import struct
import sys
import threading

IP_RECVTTL = 12  # linux/in.h
ended = queue.Queue()
releases = threading.Semaphore(0)


def reset(connection):
    """Closes with RST."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def read_line(connection):
    line = b""
    while not line.endswith(b"\n"):
        byte = connection.recv(1)
        if not byte:
            return ""
        line += byte
    return line.decode()


def read_all(connection):
    digest, count = hashlib.sha256(), 0
    while piece := connection.recv(1 << 18):
        digest.update(piece)
        count += len(piece)
    return count, digest.hexdigest()


def do_duplex(connection, count):
    """Sends `count` bytes while it reads to the end of what comes; then the digest of that."""
    block = bytes(range(256)) * 4096

    def send():
        left = int(count)
        while left:
            left -= connection.send(block[: min(left, len(block))])

    sender = threading.Thread(target=send)
    sender.start()
    received, digest = read_all(connection)
    sender.join()
    connection.sendall(f" {received} {digest}".encode())
    connection.close()


def do_reset(connection):
    reset(connection)


def do_reset_behind(connection, count):
    """Sends, waits for a byte, resets."""
    connection.sendall(bytes(int(count)))
    connection.recv(1)
    reset(connection)


def do_finish(connection):
    """Sends, half closes, and notes what comes after that."""
    connection.sendall(b"bye")
    connection.shutdown(socket.SHUT_WR)
    ended.put(repr(connection.recv(100)))
    connection.close()


def do_finish_then_reset(connection):
    connection.shutdown(socket.SHUT_WR)
    connection.recv(1)
    reset(connection)


def do_send(connection, count):
    """Sends and notes how the connection ends."""
    connection.sendall(bytes(int(count)))
    piece = connection.recv(10)
    ended.put(repr(piece))
    connection.close()


def do_late(connection):
    """Reads only after a `release`."""
    releases.acquire(timeout=60)
    ended.put(str(read_all(connection)[0]))
    connection.close()


def do_release(connection):
    releases.release()
    connection.close()


def do_ended(connection):
    connection.sendall(ended.get(timeout=10).encode())
    connection.close()


def do_connect(connection, address, port):
    """Connects to the address, sends, half closes, and answers with what came back and from where it was seen."""
    with socket.create_connection((address, int(port)), timeout=10) as other:
        other.sendall(b"hello")
        other.shutdown(socket.SHUT_WR)
        answer = b""
        while piece := other.recv(1000):
            answer += piece
    connection.sendall(answer)
    connection.close()


def serve(connection):
    name, *arguments = read_line(connection).split() or ["nothing"]
    try:
        if name != "nothing":
            globals()["do_" + name](connection, *arguments)
    except (OSError, queue.Empty) as error:
        ended.put(type(error).__name__)
        connection.close()


def listen(address):
    listener = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((address, 7000))
    listener.listen(64)

    def accept():
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=serve, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()


def echo(address):
    is_v6 = ":" in address
    sock = socket.socket(socket.AF_INET6 if is_v6 else socket.AF_INET, socket.SOCK_DGRAM)
    if is_v6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVHOPLIMIT, 1)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVTCLASS, 1)
    else:
        sock.setsockopt(socket.IPPROTO_IP, IP_RECVTTL, 1)
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_RECVTOS, 1)
    sock.bind((address, 7000))

    def serve():
        while True:
            data, control, _, sender = sock.recvmsg(65536, 512)
            seen = sorted((kind, value[0]) for _, kind, value in control)
            if data.startswith(b"to "):  # another address than the sender's
                _, host, port = data.decode().split()
                sender = (host, int(port))
            answer = bytes(value for _, value in seen) + data
            try:
                sock.sendto(answer[:65507], sender)
            except OSError as error:
                ended.put(type(error).__name__)

    threading.Thread(target=serve, daemon=True).start()


for address in sys.argv[1:]:
    listen(address)
    echo(address)
print("serving", flush=True)
sys.stdin.read()
