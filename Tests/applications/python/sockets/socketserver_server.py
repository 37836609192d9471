"""socketserver_server.py threading|forking PORT: a thread or a process for each connection, and for each datagram."""

import signal
import socketserver
import sys
import threading

import blocking


class ThreadingTCP(blocking.DualStack, socketserver.ThreadingTCPServer):
    daemon_threads = True


class ForkingTCP(blocking.DualStack, socketserver.ForkingTCPServer):
    max_children = 4096
    block_on_close = False


class DatagramHandler(socketserver.BaseRequestHandler):
    def handle(self):
        data, udp = self.request
        udp.sendto(data, self.client_address)


class ThreadingUDP(blocking.DualStack, socketserver.ThreadingUDPServer):
    max_packet_size = 1 << 16
    daemon_threads = True


class ForkingUDP(blocking.DualStack, socketserver.ForkingUDPServer):
    max_packet_size = 1 << 16
    block_on_close = False


def main():
    kind, port = sys.argv[1], int(sys.argv[2])
    tcp, udp = (ThreadingTCP, ThreadingUDP) if kind == "threading" else (ForkingTCP, ForkingUDP)
    servers = [tcp(("::", port), blocking.Handler), udp(("::", port), DatagramHandler)]
    threads = [threading.Thread(target=server.serve_forever) for server in servers]
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    for thread in threads:
        thread.start()
    signal.sigwait([signal.SIGTERM])
    for server, thread in zip(servers, threads):
        server.shutdown()
        thread.join()
        server.server_close()


main()
