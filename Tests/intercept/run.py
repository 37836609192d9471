#!/usr/bin/env python3
"""Checks the preloaded library against the fake daemon: python3 Tests/intercept/run.py PATH_TO_SO

Prints "ok NAME" or "FAIL NAME: why" for each test; exits 1 if one failed, 2 if the tests could not run.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
from fake_daemon import FakeDaemon  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
SECONDS = 90

# The linker's list is the truth; a symbol in it that no source defines would be missing in the library.
MAP = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../Sources/Intercept/intercept.map")
EXPORTS = re.findall(r"^    (\w+);$", open(MAP).read(), re.M)

SCENARIOS = """connect-blocking connect-nonblocking-success connect-nonblocking-refused connect-blocking-refused-then-again
connect-interrupted connect-restarted connect-send-timeout connect-ipv6 connect-shutdown connect-fast-open accept-flags
accept-emfile-keeps-connection accept-blocking accept-cancelled listener-shutdown bind-names options
addresses-in-transfer low-fd-numbers rpc-fd-closed rpc-fd-overwritten rpc-dropped fork vfork threads-and-forks
signal-handler""".split()

ORACLES = "oracle-sockets oracle-addresses oracle-life oracle-options".split()


class Failure(Exception):
    pass


def check(condition, why):
    if not condition:
        raise Failure(why)


class Bench:
    def __init__(self, library, folder):
        self.library, self.folder = library, folder
        self.program = os.path.join(folder, "app")
        compiler = os.environ.get("CC") or next(filter(None, map(shutil.which, ("clang", "gcc", "cc"))), None)
        if compiler is None:
            sys.exit("no C compiler: install clang or gcc, or name one in CC")
        names = ("main", "connect", "listen", "process", "oracle")
        sources = [os.path.join(HERE, name + ".c") for name in names]
        subprocess.run([compiler, "-std=gnu11", "-D_GNU_SOURCE", "-O1", "-pthread", "-Wall", "-Wextra", "-Wno-nonnull",
                        "-o", self.program] + sources, check=True)

    def run(self, scenario, network, preload=True, control=""):
        environment = {key: value for key, value in os.environ.items() if key not in ("LD_PRELOAD", "ZT_NC_NETWORK")}
        environment["FAKE_CONTROL"] = control
        if preload:
            environment["LD_PRELOAD"] = self.library
        if network is not None:
            environment["ZT_NC_NETWORK"] = network
        return subprocess.run([self.program, scenario], env=environment, stdin=subprocess.DEVNULL, capture_output=True,
                              text=True, timeout=SECONDS)

    def with_daemon(self, scenario, mode="normal"):
        with tempfile.TemporaryDirectory(dir=self.folder) as folder:
            daemon = FakeDaemon(folder, mode)
            daemon.start()
            try:
                return self.run(scenario, daemon.path, control=daemon.control_path)
            finally:
                daemon.stop()


def expect_success(result):
    check(result.returncode == 0, f"exit {result.returncode}: {result.stdout.strip()} {result.stderr.strip()}")


def expect_one_message(result, *words):
    expect_success(result)
    lines = result.stderr.splitlines()
    check(len(lines) == 1, f"{len(lines)} lines on stderr: {result.stderr!r}")
    for word in words:
        check(word in lines[0], f"{word!r} is missing in {lines[0]!r}")


def symbols(bench):
    table = subprocess.run(["nm", "-D", "--defined-only", bench.library], capture_output=True, text=True, check=True)
    found = sorted(line.split()[-1] for line in table.stdout.splitlines())
    check(found == sorted(EXPORTS), f"exported: {found}")
    check("@" not in table.stdout, "a symbol carries a version, which breaks interposition")


def needed(bench):
    dynamic = subprocess.run(["readelf", "-d", bench.library], capture_output=True, text=True, check=True).stdout
    found = re.findall(r"\(NEEDED\).*\[(.*)\]", dynamic)
    check(found == ["libc.so.6"], f"NEEDED: {found}")


def pass_through(bench):
    for scenario in ORACLES:
        native = bench.run(scenario, None, preload=False)
        expect_success(native)
        for network in (None, ""):
            result = bench.run(scenario, network)
            expect_success(result)
            check(result.stdout == native.stdout and result.stderr == "", f"{scenario} differs from native")


def oracle(bench, scenario):
    native = bench.run(scenario, None, preload=False)
    ours = bench.with_daemon(scenario)
    expect_success(native)
    expect_success(ours)
    pairs = zip(native.stdout.splitlines(), ours.stdout.splitlines())
    check(native.stdout == ours.stdout, "; ".join(f"Linux {a!r}, ours {b!r}" for a, b in pairs if a != b) or "length")


def no_daemon(bench):
    path = os.path.join(bench.folder, "nc_absent")
    expect_one_message(bench.run("no-daemon", path), path, "start netcond", "ENETDOWN")


def long_path(bench):
    path = "/" + "x" * 200
    expect_one_message(bench.run("no-daemon", path), "ENETDOWN")


def wrong_version(bench):
    expect_one_message(bench.with_daemon("wrong-version", "version"), "RPC version 7", "version 2", "EPROTONOSUPPORT")


def silent_daemon(bench):
    expect_one_message(bench.with_daemon("silent-daemon", "silent"), "5 seconds")


def tests():
    yield "exported-symbols", symbols
    yield "needed-libraries", needed
    yield "pass-through", pass_through
    yield "no-daemon", no_daemon
    yield "path-too-long", long_path
    yield "wrong-version", wrong_version
    yield "silent-daemon", silent_daemon
    for scenario in ORACLES:
        yield scenario, lambda bench, name=scenario: oracle(bench, name)
    for scenario in SCENARIOS:
        yield scenario, lambda bench, name=scenario: expect_success(bench.with_daemon(name))


def main():
    if len(sys.argv) != 2 or not os.path.exists(sys.argv[1]):
        sys.exit(__doc__)
    failures = 0
    with tempfile.TemporaryDirectory(prefix="intercept-") as folder:
        bench = Bench(os.path.abspath(sys.argv[1]), folder)
        for name, test in tests():
            try:
                test(bench)
                print(f"ok {name}", flush=True)
            except (Failure, subprocess.SubprocessError) as why:
                failures += 1
                print(f"FAIL {name}: {why}", flush=True)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
