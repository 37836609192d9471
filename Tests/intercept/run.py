#!/usr/bin/env python3
"""Checks the preloaded library against the fake daemon: python3 Tests/intercept/run.py PATH_TO_SO
The same of a library that is built here by gcc with a sanitizer: run.py --sanitizer address|undefined|thread
With --build FOLDER that library is only built; what LD_PRELOAD must hold for it is printed.

Prints "ok NAME" or "FAIL NAME: why" for each test; exits 1 if one failed, 2 if the tests could not run.
"""

import argparse
import glob
import os
import re
import shutil
import struct
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
connect-interrupted connect-restarted connect-send-timeout connect-ipv6 connect-posted sockets-ahead sockets-ahead-shared
sockets-ahead-named sockets-ahead-demoted sockets-ahead-sandboxed connect-shutdown connect-fast-open accept-flags
accept-emfile-keeps-connection accept-blocking accept-cancelled listener-shutdown bind-names options options-toggled options-corked-often options-after-failure
addresses-in-transfer low-fd-numbers rpc-fd-closed rpc-fd-overwritten rpc-dropped fork vfork threads-and-forks pid-namespaces
signal-handler exec-every-way exec-spawn exec-shells exec-environments exec-inherited exec-in-handler plugins
fds-passed fds-stolen fds-copied fds-reused fds-all-closed fds-no-standard fds-few-numbers fds-stdio fds-daemonised
fds-cancelled fds-chrooted fds-without-proc fds-sandboxed""".split()

# Of a daemon whose descriptors a program may not take: it passes them.
PASSING = "sockets-ahead sockets-ahead-shared".split()

ORACLES = "oracle-sockets oracle-addresses oracle-life oracle-options".split()

# What a sanitizer's own runtime does not bear, with the reason.
BEYOND = {
    "address": {
        "accept-cancelled": "a cancelled thread's stack stays poisoned (unwound past instrumented frames)",
        "exec-environments": "needs its runtime first, also where a program sets LD_PRELOAD anew",
        "fds-without-proc": "reads its own options there",
    },
    "undefined": {},
    "thread": {
        "exec-environments": "as above",
        "exec-in-handler": "holds signals back until the next system call; the scenario makes none",
    },
}
# Of the library as it is built for use; the last ones also load it where a runtime cannot be, or not first.
RELEASE_ONLY = ("exported-symbols", "needed-libraries", "exec-unpreloadable", "other-library", "plugins")


class Failure(Exception):
    pass


def check(condition, why):
    if not condition:
        raise Failure(why)


class Bench:
    def __init__(self, library, folder, runtime=None):
        self.library, self.folder = library, folder
        # A sanitizer's runtime comes first: it must see what the program calls before the library does.
        self.preload = [runtime, library] if runtime else [library]
        self.program = os.path.join(folder, "app")
        self.compiler = compiler = os.environ.get("CC") or next(filter(None, map(shutil.which, ("clang", "gcc", "cc"))), None)
        if compiler is None:
            sys.exit("no C compiler: install clang or gcc, or name one in CC")
        names = ("main", "connect", "listen", "process", "exec", "descriptors", "oracle")
        sources = [os.path.join(HERE, name + ".c") for name in names]
        subprocess.run([compiler, "-std=gnu11", "-D_GNU_SOURCE", "-O1", "-pthread", "-Wall", "-Wextra", "-Wno-nonnull",
                        "-Wl,--enable-new-dtags,-rpath,$ORIGIN/plugins", "-o", self.program] + sources, check=True)
        os.mkdir(os.path.join(folder, "plugins"))
        for source, target in (("plugin", "plugins/plugin"), ("plugin", "plugins/plugin-deep"), ("other", "other")):
            subprocess.run([compiler, "-D_GNU_SOURCE", "-shared", "-fPIC", "-o", os.path.join(folder, target + ".so"),
                            os.path.join(HERE, source + ".c")], check=True)

    def run(self, scenario, network, preload=True, control="", extra={}, **how):
        environment = {key: value for key, value in os.environ.items() if key not in ("LD_PRELOAD", "ZT_NC_NETWORK")}
        environment["FAKE_CONTROL"] = control
        if preload:
            environment["LD_PRELOAD"] = ":".join(self.preload)
            # The runtime asks for its options before the library that has them compiled in can answer.
            environment["ASAN_OPTIONS"] = "detect_leaks=0:exitcode=99"
            environment["TSAN_OPTIONS"] = "die_after_fork=0:halt_on_error=1:exitcode=99"
            environment["UBSAN_OPTIONS"] = "halt_on_error=1:print_stacktrace=1:exitcode=99"
        if network is not None:
            environment["ZT_NC_NETWORK"] = network
        environment.update(extra)
        return subprocess.run([self.program, scenario], env=environment, stdin=subprocess.DEVNULL, capture_output=True,
                              text=True, timeout=SECONDS, **how)

    def with_daemon(self, scenario, mode="normal", **how):
        with tempfile.TemporaryDirectory(dir=self.folder) as folder:
            daemon = FakeDaemon(folder, mode)
            daemon.start()
            try:
                return self.run(scenario, daemon.path, control=daemon.control_path, **how)
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
    expect_one_message(bench.with_daemon("wrong-version", "version"), "RPC version 7", "version 6", "EPROTONOSUPPORT")


def silent_daemon(bench):
    expect_one_message(bench.with_daemon("silent-daemon", "silent"), "5 seconds")


def relative_paths(bench):
    with tempfile.TemporaryDirectory(dir=bench.folder) as folder:
        daemon = FakeDaemon(folder)
        daemon.start()
        os.symlink(bench.library, os.path.join(folder, "lib.so"))
        try:
            expect_success(bench.run("exec-relative-paths", os.path.basename(daemon.path), control=daemon.control_path,
                                     extra={"LD_PRELOAD": "./lib.so"}, cwd=folder))
        finally:
            daemon.stop()


def other_library(bench):
    """Before ours and behind it."""
    other = os.path.join(bench.folder, "other.so")
    for preload in ([other] + bench.preload, bench.preload + [other]):
        for scenario in ("connect-blocking", "accept-flags", "fork", "exec-every-way", "fds-passed", "fds-all-closed"):
            expect_success(bench.with_daemon(scenario, extra={"LD_PRELOAD": ":".join(preload)}))


def unpreloadable(bench):
    def target(name, *flags):
        path = os.path.join(bench.folder, name)
        subprocess.run([bench.compiler, *flags, "-o", path, os.path.join(HERE, "target.c")], check=True)
        return path

    def expect(path, why, **how):
        result = bench.with_daemon("exec-unpreloadable", extra={"EXEC_TARGET": path, **how.pop("extra", {})}, **how)
        if why is None:
            expect_success(result)
            check(result.stderr == "", f"{path}: {result.stderr!r}")
        else:
            expect_one_message(result, path, why, "host's network")

    dynamic, static = target("dynamic"), target("static", "-static")
    script, script_of_static = os.path.join(bench.folder, "script"), os.path.join(bench.folder, "static-script")
    for path, interpreter in ((script, "/bin/sh"), (script_of_static, static)):
        with open(path, "w") as file:
            file.write(f"#!{interpreter}\n")
        os.chmod(path, 0o755)
    expect(dynamic, None)
    expect(script, None)
    expect(static, "statically linked")
    expect(target("static-pie", "-static-pie", "-fuse-ld=bfd"), "statically linked")
    expect(static, None, extra={"NETCOND_EXEC_WARNINGS": "0"})
    result = bench.with_daemon("exec-unpreloadable", extra={"EXEC_TARGET": script_of_static})
    expect_one_message(result, static + " is statically linked")
    if os.geteuid() != 0:
        return # what follows changes owners
    os.chmod(bench.folder, 0o755)
    nobody = {"user": 65534, "group": 65534, "extra_groups": []}
    shutil.copy(dynamic, dynamic + "-set-user-id")
    os.chmod(dynamic + "-set-user-id", 0o4755)
    shutil.copy(dynamic, dynamic + "-set-group-id")
    os.chmod(dynamic + "-set-group-id", 0o2755)
    shutil.copy(dynamic, dynamic + "-capable")
    # struct vfs_cap_data: revision 2 with the effective bit; CAP_NET_BIND_SERVICE (capabilities(7))
    os.setxattr(dynamic + "-capable", "security.capability", struct.pack("<5I", 0x02000001, 1 << 10, 0, 0, 0))
    expect(dynamic + "-set-user-id", "set-user-id", **nobody)
    expect(dynamic + "-set-group-id", "set-group-id", **nobody)
    expect(dynamic + "-capable", "file capabilities", **nobody)
    expect(dynamic, None, **nobody)
    for name in ("-set-user-id", "-set-group-id", "-capable"):
        expect(dynamic + name, None) # root gains nothing by them


def tests():
    yield "exported-symbols", symbols
    yield "needed-libraries", needed
    yield "pass-through", pass_through
    yield "no-daemon", no_daemon
    yield "path-too-long", long_path
    yield "wrong-version", wrong_version
    yield "silent-daemon", silent_daemon
    yield "exec-relative-paths", relative_paths
    yield "exec-unpreloadable", unpreloadable
    yield "other-library", other_library
    for scenario in ORACLES:
        yield scenario, lambda bench, name=scenario: oracle(bench, name)
    for scenario in SCENARIOS:
        yield scenario, lambda bench, name=scenario: expect_success(bench.with_daemon(name))
    for scenario in PASSING:
        yield scenario + "-passed", lambda bench, name=scenario: expect_success(bench.with_daemon(name, "passing"))


def build_sanitized(kind, folder):
    """The library with a sanitizer, and its runtime."""
    sources, library = os.path.join(HERE, "../../Sources"), os.path.join(folder, "libzerotierintercept.so")
    script = os.path.join(folder, "intercept.map")
    options = "".join(f"    __{name}_default_options;\n" for name in ("asan", "tsan", "ubsan"))
    with open(script, "w") as file:
        file.write(open(MAP).read().replace("global:\n", "global:\n" + options))
    subprocess.run(["gcc", "-std=c11", "-g", "-O1", "-fno-omit-frame-pointer", "-fsanitize=" + kind,
                    "-fno-sanitize-recover=all", "-D_GNU_SOURCE", "-fvisibility=hidden", "-shared", "-fPIC",
                    "-I" + os.path.join(sources, "NetcondRPC/include"),
                    *glob.glob(os.path.join(sources, "Intercept/*.c")), os.path.join(HERE, "sanitizer_options.c"),
                    "-Wl,--version-script=" + script, "-o", library], check=True)
    name = {"address": "libasan.so", "undefined": "libubsan.so", "thread": "libtsan.so"}[kind]
    found = subprocess.run(["gcc", "-print-file-name=" + name], capture_output=True, text=True, check=True).stdout
    return library, os.path.realpath(found.strip())


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("library", nargs="?")
    parser.add_argument("--sanitizer", choices=BEYOND)
    parser.add_argument("--build")
    chosen = parser.parse_args()
    if (chosen.library is None) == (chosen.sanitizer is None):
        sys.exit(__doc__)
    if chosen.build:
        library, runtime = build_sanitized(chosen.sanitizer, chosen.build)
        print(runtime + ":" + library)
        return 0
    failures = 0
    with tempfile.TemporaryDirectory(prefix="intercept-") as folder:
        library, runtime, beyond = chosen.library, None, {}
        if chosen.sanitizer:
            library, runtime = build_sanitized(chosen.sanitizer, folder)
            beyond = BEYOND[chosen.sanitizer] | dict.fromkeys(RELEASE_ONLY, "of the library as it is built for use")
        bench = Bench(os.path.abspath(library), folder, runtime)
        for name, test in tests():
            if name in beyond:
                print(f"beyond {name}: {beyond[name]}", flush=True)
                continue
            try:
                test(bench)
                print(f"ok {name}", flush=True)
            except (Failure, subprocess.SubprocessError) as why:
                failures += 1
                print(f"FAIL {name}: {why}", flush=True)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
