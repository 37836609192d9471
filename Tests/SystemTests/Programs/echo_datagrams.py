"""Sends datagrams back that come to port 7000 of the address given."""
import socket
import sys

made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
made.bind((sys.argv[1], 7000))
print("serving", flush=True)
while True:
    data, sender = made.recvfrom(65536)
    made.sendto(data, sender)
