"""workers_server.py PORT: four processes of multiprocessing accept from one listener that they inherited. Each says at its
end how many connections it had."""

import multiprocessing
import signal
import socket
import sys
import threading

import blocking

WORKERS = 4


def worker(listener, counts, index):
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    while True:
        connected, _ = listener.accept()
        counts[index] += 1
        threading.Thread(target=serve, args=(connected,), daemon=True).start()


def serve(connected):
    with connected:
        blocking.connection(connected)


def main():
    multiprocessing.set_start_method("fork")
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    counts = multiprocessing.Array("i", WORKERS)
    listener = socket.create_server(("", int(sys.argv[1])), family=socket.AF_INET6, backlog=4096, dualstack_ipv6=True)
    workers = [multiprocessing.Process(target=start, args=(listener, counts, index)) for index in range(WORKERS)]
    for process in workers:
        process.start()
    signal.sigwait([signal.SIGTERM])
    for process in workers:
        process.terminate()
        process.join(20)
        assert process.exitcode == 0, f"a worker's exit code: {process.exitcode}"
    print("connections of each worker:", *counts, flush=True)
    assert all(counts), "a worker was never given a connection"


def start(listener, counts, index):
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
    worker(listener, counts, index)


main()
