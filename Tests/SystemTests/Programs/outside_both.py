"""One datagram socket that speaks to its network and to the outside in turn. Arguments: an address of each, where
datagrams to port 7000 come back (behind some bytes)."""
import socket
import sys

virtual, outside = ((address, 7000) for address in sys.argv[1:])
made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
made.settimeout(10)


def exchange(text, send):
    send(text)
    data, sender = made.recvfrom(100)
    return data.endswith(text), sender[0]


print(*(exchange(b"%d" % index, lambda text: made.sendto(text, peer)) for index, peer in enumerate([virtual, outside] * 3)))
print(made.getsockname()[0])
for peer in (outside, virtual, outside):
    made.connect(peer)
    print(exchange(b"connected", made.send), made.getsockname()[0], made.getpeername()[0])
