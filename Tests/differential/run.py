#!/usr/bin/env python3
"""The differential suite: each scenario runs natively between two kernel network namespaces and intercepted, with the
kernel as the peer across a tap; what app and peer print must be equal. README.md tells more.

  run.py [--only SUBSTRING]… [--bin-dir DIR] [--show] [--native] [--tabs] [--jobs N] [--busy-poll]
         [--repeat N]
"""

import argparse
import fnmatch
import os
import queue
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))

MTU = 1500
APP = ("10.80.0.2/24", "fd80::2/64")
PEER = ("10.80.0.9/24", "fd80::9/64")
NETWORK = "00000000000000d1"
SCENARIO_SECONDS = 20
READY_SECONDS = 30
SHOWN = 60  # differences of one scenario


class Broken(Exception):
    """The suite itself could not do its work."""


def compile_program(folder):
    """Compiles all *.c beside this file into one program, two files at a time."""
    compiler = os.environ.get("CC") or next(filter(None, map(shutil.which, ("gcc", "clang", "cc"))), None)
    if compiler is None:
        raise Broken("no C compiler: install gcc or clang, or name one in CC")
    sources = sorted(name for name in os.listdir(HERE) if name.endswith(".c"))
    wrong_arguments_on_purpose = ["-Wno-unknown-warning-option", "-Wno-nonnull", "-Wno-stringop-overread",
                                  "-Wno-stringop-overflow", "-Wno-unused-result"]
    flags = ["-std=gnu11", "-D_GNU_SOURCE", "-O1", "-pthread", "-Wall", "-Wextra", "-Werror", *wrong_arguments_on_purpose]
    waiting, running, objects = list(sources), [], []
    while waiting or running:
        while waiting and len(running) < 2:
            source = waiting.pop(0)
            objects.append(os.path.join(folder, source + ".o"))
            command = [compiler, *flags, "-c", os.path.join(HERE, source), "-o", objects[-1]]
            running.append((source, subprocess.Popen(command)))
        source, process = running.pop(0)
        if process.wait() != 0:
            raise Broken(f"{source} does not compile")
    program = os.path.join(folder, "differential")
    subprocess.run([compiler, "-pthread", "-o", program, *objects], check=True)
    return program


def clean_environment(**added):
    kept = {key: value for key, value in os.environ.items() if key not in ("LD_PRELOAD", "ZT_NC_NETWORK")}
    kept.update(added)
    return kept


class Namespace:
    """A network namespace without a name: a process holds it, and it ends with that."""

    def __init__(self, program):
        self.program = program
        self.holder = subprocess.Popen([program, "hold"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        if self.holder.stdout.read(1) != b"\n":
            raise Broken("cannot make a network namespace: this needs root (CAP_SYS_ADMIN)")
        self.ip("link", "set", "lo", "up")
        self.set("net/ipv4/tcp_congestion_control", "reno")  # the one that every kernel has
        # Linux answers so many errors a second and no more: what is told of an unreachable port would be luck.
        self.set("net/ipv4/icmp_ratelimit", 0)
        for name in ("icmp_msgs_per_sec", "icmp_msgs_burst"):
            self.set("net/ipv4/" + name, 1000000, needed=False)  # the host's own before Linux 6.13
        self.set("net/ipv6/icmp/ratelimit", 0)

    @property
    def pid(self):
        return str(self.holder.pid)

    def inside(self, *command):
        return [self.program, "in", f"/proc/{self.pid}/ns/net", *command]

    def ip(self, *arguments):
        done = subprocess.run(self.inside("ip", *arguments), capture_output=True, text=True)
        if done.returncode != 0:
            raise Broken(f"ip {' '.join(arguments)}: {done.stderr.strip()}")

    def set(self, path, value, needed=True):
        script = f"echo '{value}' > /proc/sys/{path}"
        done = subprocess.run(self.inside("sh", "-c", script), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if needed and done.returncode != 0:
            raise Broken(f"{path}: {done.stdout.strip()}")

    def configure(self, device, addresses):
        self.ip("link", "set", device, "mtu", str(MTU))
        for address in addresses:
            extra = ["nodad"] if ":" in address else ["broadcast", "+"]
            self.ip("address", "add", address, "dev", device, *extra)
        self.ip("link", "set", device, "up")

    def close(self):
        self.holder.kill()
        self.holder.wait()
        self.holder.stdin.close()
        self.holder.stdout.close()


class Stage:
    """Two hosts, one scenario at a time: `app` and `peer`."""

    def __init__(self, program):
        self.program = program
        self.app, self.peer = Namespace(program), Namespace(program)
        self.environment = clean_environment()

    def run(self, name):
        """Runs both sides of a scenario and returns its lines: (side and label, value), in order for each side."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            peer = self.start(self.peer, "peer", name, theirs, clean_environment())
            app = self.start(self.app, "app", name, ours, self.environment)
        finally:
            ours.close()
            theirs.close()
        end = time.monotonic() + SCENARIO_SECONDS
        lines = []
        for side, process in (("app", app), ("peer", peer)):
            lines += self.collect(side, process, end)
        return lines

    def start(self, namespace, side, name, line, environment):
        environment = dict(environment, DIFFERENTIAL_LINE=str(line.fileno()))
        # The library must not be in the program that enters the namespace, so env(1) sets it for the next one.
        preload = environment.pop("LD_PRELOAD", None)
        command = [*(["env", "LD_PRELOAD=" + preload] if preload else []), self.program, side, name]
        return subprocess.Popen(
            namespace.inside(*command), env=environment, pass_fds=[line.fileno()], stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace", start_new_session=True)

    def collect(self, side, process, end):
        try:
            output, errors = process.communicate(timeout=max(0.1, end - time.monotonic()))
            status = process.returncode
        except subprocess.TimeoutExpired:
            status = "none in time"
        try:
            os.killpg(process.pid, signal.SIGKILL)  # children that it left
        except ProcessLookupError:
            pass
        if status == "none in time":
            output, errors = process.communicate()
        lines = [tuple(line.split(": ", 1)) if ": " in line else (line, "") for line in output.splitlines()]
        if status != 0:
            lines.append(("end", signal.Signals(-status).name if isinstance(status, int) and status < 0 else str(status)))
        lines += [("stderr", line) for line in errors.splitlines()]
        return [(f"{side}/{label}", value) for label, value in lines]

    def alive(self):
        return True

    def close(self):
        self.app.close()
        self.peer.close()


class NativeStage(Stage):
    def __init__(self, program, _):
        super().__init__(program)
        self.app.ip("link", "add", "nc0", "type", "veth", "peer", "name", "nc0", "netns", self.peer.pid)
        self.app.configure("nc0", APP)
        self.peer.configure("nc0", PEER)
        self.app.set("net/ipv4/ping_group_range", "0 2147483647")


class InterceptedStage(Stage):
    """The daemon stands in the app's namespace, where the kernel has no network at all: a leak shows."""

    def __init__(self, program, binaries):
        super().__init__(program)
        self.app.ip("link", "set", "lo", "down")
        self.home = tempfile.mkdtemp(prefix="home-", dir=os.path.dirname(program))
        os.chmod(self.home, 0o755)
        os.mkdir(os.path.join(self.home, "networks.d"))
        with open(os.path.join(self.home, "networks.d", NETWORK + ".conf"), "w") as file:
            file.write("link=tap:tap0\n" + "".join(f"address={address}\n" for address in APP) + f"mtu={MTU}\n")
        self.log = os.path.join(self.home, "log")
        readiness, ready = os.pipe()
        command = self.app.inside(binaries.daemon, *binaries.arguments, "--ready-fd", str(ready), self.home)
        with open(self.log, "w") as log:
            self.daemon = subprocess.Popen(
                command, env=clean_environment(), pass_fds=[ready], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        os.close(ready)
        try:
            self.await_ready(readiness)
        finally:
            os.close(readiness)
        self.app.ip("link", "set", "tap0", "netns", self.peer.pid)
        self.peer.configure("tap0", PEER)
        self.environment["LD_PRELOAD"] = binaries.library
        self.environment["ZT_NC_NETWORK"] = os.path.join(self.home, "nc_" + NETWORK)

    def await_ready(self, readiness):
        timer = threading.Timer(READY_SECONDS, self.daemon.kill)
        timer.start()
        word = os.read(readiness, 64)
        timer.cancel()
        if not word.startswith(b"ready"):
            raise Broken("netcond was not ready: " + self.messages())

    def messages(self):
        with open(self.log, errors="replace") as file:
            return file.read().strip()

    def alive(self):
        return self.daemon.poll() is None

    def close(self):
        self.daemon.kill()
        self.daemon.wait()
        super().close()


class Binaries:
    """The daemon and the library, where an unprivileged user finds them."""

    def __init__(self, folder, copies, arguments):
        self.daemon = os.path.join(folder, "netcond")
        self.arguments = arguments
        names = ("libzerotierintercept.so", "libnetcond-intercept.so")
        found = [os.path.join(folder, name) for name in names if os.path.exists(os.path.join(folder, name))]
        if not found or not os.path.exists(self.daemon):
            raise Broken(f"no netcond and library in {folder}: build with 'make', or name the folder by --bin-dir")
        self.library = shutil.copy(found[0], os.path.join(copies, names[0]))
        os.chmod(self.library, 0o755)


class Exceptions:
    """known.txt or pending.txt: lines of scenario, label and reason, separated by tabs; '*' stands for anything. A fourth
    field, 'at times', is for what depends on who is first: it may differ, and need not."""

    def __init__(self, name):
        self.name = name
        self.entries = []
        self.rare = set()
        path = os.path.join(HERE, name)
        if os.path.exists(path):
            with open(path) as file:
                for number, line in enumerate(file, 1):
                    if line.strip() and not line.startswith("#"):
                        fields = line.rstrip("\n").split("\t")
                        is_rare = fields[3:] == ["at times"]
                        if len(fields) != 3 and not is_rare:
                            raise Broken(f"{name}:{number}: not three fields with tabs between, or 'at times' as a fourth")
                        self.entries.append(tuple(fields[:3]))
                        if is_rare:
                            self.rare.add(self.entries[-1])
        self.used = set()

    def reason(self, scenario, label):
        for entry in self.entries:
            if fnmatch.fnmatchcase(scenario, entry[0]) and fnmatch.fnmatchcase(label, entry[1]):
                self.used.add(entry)
                return entry[2]
        return None

    def unused(self, scenarios):
        return [entry for entry in self.entries
                if entry not in self.used | self.rare and any(fnmatch.fnmatchcase(name, entry[0]) for name in scenarios)]


def numbered(lines):
    """Labels made unique: the second 'x' becomes 'x #2'."""
    seen, table = {}, {}
    for label, value in lines:
        seen[label] = seen.get(label, 0) + 1
        table[label if seen[label] == 1 else f"{label} #{seen[label]}"] = value
    return table


def differences(native, intercepted):
    """(label, native value, intercepted value) of all lines that are not equal; None where a side lacks one."""
    first, second = numbered(native), numbered(intercepted)
    labels = list(first) + [label for label in second if label not in first]
    return [(label, first.get(label), second.get(label)) for label in labels if first.get(label) != second.get(label)]


class Suite:
    def __init__(self, options, program, binaries):
        self.options, self.program, self.binaries = options, program, binaries
        self.known, self.pending = Exceptions("known.txt"), Exceptions("pending.txt")
        self.lock = threading.Lock()
        self.passed = self.failed = self.assertions = 0
        self.failures = []
        self.expected = []

    def scenarios(self):
        text = subprocess.run([self.program, "list"], capture_output=True, text=True, check=True).stdout
        names = sorted(line.split()[0] for line in text.splitlines())
        if self.options.only:
            names = [name for name in names if any(part in name for part in self.options.only)]
        return names

    def worker(self, work):
        kinds = [NativeStage, NativeStage if self.options.native else InterceptedStage]
        stages = [None, None]
        try:
            while True:
                try:
                    name = work.get_nowait()
                except queue.Empty:
                    break
                start = time.monotonic()
                runs = []
                for number, kind in enumerate(kinds):
                    stages[number] = stages[number] or kind(self.program, self.binaries)
                    runs.append(stages[number].run(name))
                    if not stages[number].alive():
                        runs[-1].append(("daemon", "died: " + stages[number].messages()))
                        stages[number].close()
                        stages[number] = None
                self.judge(name, runs, time.monotonic() - start)
        except BaseException as why:  # told by run(): a thread that dies silently would pass
            with self.lock:
                self.failures.append(f"{type(why).__name__}: {why}")
        finally:
            for stage in filter(None, stages):
                stage.close()

    def judge(self, name, runs, seconds):
        different = differences(runs[0], runs[-1])
        # A side that could not do its part says so in both runs alike; equal or not, nothing was proven.
        troubles = [f"{label}: {value}" for label, value in runs[0]
                    if label.endswith(("/broken", "/end", "/heard on the line"))]
        unexpected, pending = [], []
        with self.lock:
            for label, native, ours in different:
                text = f"    {label}: native {native}, intercepted {ours}"
                reason, owner = self.known.reason(name, label), self.pending.reason(name, label)
                if reason:
                    self.expected.append((name, label, reason))
                elif owner:
                    pending.append(f"{text} (pending: {owner})")
                else:
                    unexpected.append(text)
            unexpected += [f"    natively {trouble}" for trouble in troubles]
            self.assertions += len(runs[0])
            verdict = "FAIL" if unexpected else "pending" if pending else "ok"
            if unexpected:
                self.failed += 1
            else:
                self.passed += 1
            print(f"{verdict} {name} ({len(runs[0])} lines, {seconds:.1f} s)", flush=True)
            told = unexpected + pending
            print("".join(line + "\n" for line in told[:SHOWN]), end="", flush=True)
            if len(told) > SHOWN:
                print(f"    … and {len(told) - SHOWN} more (--tabs shows all)", flush=True)
            if self.options.tabs:
                for label, *_ in different:
                    if not self.known.reason(name, label):
                        print(f"{name}\t{label}\t", flush=True)
            if self.options.show:
                for side, lines in zip(("native", "intercepted"), runs):
                    print("\n".join([f"  {side}:"] + [f"    {label}: {value}" for label, value in lines]), flush=True)

    def run(self):
        start = time.monotonic()
        names = self.scenarios()
        if not names:
            raise Broken("no scenario of that name")
        work = queue.Queue()
        for _ in range(self.options.repeat):
            for name in names:
                work.put(name)
        workers = [threading.Thread(target=self.worker, args=(work,))
                   for _ in range(min(self.options.jobs, len(names) * self.options.repeat))]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        if not self.options.native:
            self.judge_exceptions(names)
        for failure in self.failures:
            self.failed += 1
            print("FAIL " + failure)
        print(f"{self.passed} passed, {self.failed} failed ({len(names)} scenarios, {self.assertions} lines compared, "
              f"{len(self.expected)} known differences, {time.monotonic() - start:.0f} s)")
        return 1 if self.failed else 0

    def judge_exceptions(self, names):
        for scenario, label, reason in self.known.unused(names):
            self.failures.append(f"known.txt: {scenario} {label} ({reason}) differs no longer: remove the line")
        for scenario, label, owner in self.pending.unused(names):
            print(f"pending.txt: {scenario} {label} ({owner}) differs no longer: remove the line")
        if self.known.entries:
            with open(os.path.join(ROOT, "docs", "compatibility.md")) as file:
                text = file.read()
            for reason in sorted({entry[2] for entry in self.known.entries}):
                if f"`{reason}`" not in text:
                    self.failures.append(f"docs/compatibility.md does not explain `{reason}`, which known.txt names")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", action="append", metavar="SUBSTRING", help="scenarios whose name holds it; repeatable")
    parser.add_argument("--bin-dir", default=os.environ.get("NETCOND_BIN_DIR") or os.path.join(ROOT, ".build/release"))
    parser.add_argument("--show", action="store_true", help="print all lines of both runs")
    parser.add_argument("--native", action="store_true", help="run natively both times: shows what differs by itself")
    parser.add_argument("--tabs", action="store_true", help="print differences as lines for known.txt or pending.txt too")
    parser.add_argument("--jobs", type=int, default=6, help="scenarios at a time")
    parser.add_argument("--busy-poll", action="store_true", help="with netcond --busy-poll")
    parser.add_argument("--repeat", type=int, default=1, help="run each so often")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    # Readable for the unprivileged user that some scenarios become.
    with tempfile.TemporaryDirectory(prefix="ncdiff-") as folder:
        os.chmod(folder, 0o755)
        try:
            program = compile_program(folder)
            binaries = Binaries(os.path.abspath(options.bin_dir), folder, ["--busy-poll"] if options.busy_poll else [])
            suite = Suite(options, program, binaries)
            return suite.run()
        except Broken as why:
            print(f"run.py: {why}", file=sys.stderr)
            return 2


if __name__ == "__main__":
    sys.exit(main())
