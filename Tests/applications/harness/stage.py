"""One test on its stage. Runs as the first process of namespaces of its own (mount, network, pid), made by run.py, so
that whatever it started ends with it, and no name of it is left on the machine.

  the world (this process)                      the container
  ┌──────────────────────────────┐              ┌─────────────────────────────────────┐
  │ monitor_entrypoint.sh        │              │ netcon_entrypoint.sh, intercepted   │
  │ kernel's stack ── tap ── netcond ◀─ nc_ socket ─ libzerotierintercept.so          │
  └──────────────────────────────┘              │ no interface but lo, and that down  │
                                                └─────────────────────────────────────┘

Both see the same folders under /mnt, wherever they are on the machine: bin (the build), harness, lib, test (the test's
folder), exchange, home (the daemon's), and one of their own each, netcon and monitor.
"""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import catalogue  # noqa: E402
from catalogue import Broken  # noqa: E402

NETWORK = "00000000000000a1"
NETCON = ("10.90.0.2", "fd90::2")
MONITOR = ("10.90.0.1", "fd90::1")
READY_SECONDS = 30
SETTLE_SECONDS = 20  # for the daemon to let go of what the test left
STOP_SECONDS = 20
CONTAINER = ["unshare", "--mount", "--net", "--pid", "--ipc", "--uts", "--fork", "--kill-child=KILL", "--propagation", "private",
             "--", "/mnt/harness/container.sh"]
SKIPPED = 77  # exit status of a script that cannot run here, as automake has it


def say(*words):
    print("stage:", *words, flush=True)


def run(*command):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode != 0:
        raise Broken(f"{' '.join(command)}: {done.stdout.strip()}")


class Children:
    """Process 1 reaps everybody; who is asked for is remembered."""

    def __init__(self):
        self.ended = {}
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})

    def reap(self):
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            self.ended[pid] = os.waitstatus_to_exitcode(status)

    def wait(self, pids, deadline):
        """Until one of `pids` has ended: that one, or None at the deadline."""
        while True:
            self.reap()
            for pid in pids:
                if pid in self.ended:
                    return pid
            left = deadline - time.monotonic()
            if left <= 0:
                return None
            signal.sigtimedwait({signal.SIGCHLD}, left)

    def spawn(self, command, log, environment, folder, **more):
        with open(log, "ab") as output:
            # wait() of Popen would race with reap(): only the pid is used.
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment, cwd=folder,
                start_new_session=True, preexec_fn=lambda: signal.pthread_sigmask(signal.SIG_SETMASK, set()), **more)
        process.returncode = 0
        return process.pid


class Stage:
    def __init__(self, test, work, form, engine):
        self.test, self.full, self.engine, self.work = test, form == "full", engine, pathlib.Path(work)
        self.children = Children()
        self.daemon = None
        self.deadline = time.monotonic() + self.limit()

    def prepare_folders(self, binaries, pip):
        run("mount", "-t", "proc", "proc", "/proc")
        run("mount", "-t", "tmpfs", "-o", "mode=755", "netcond", "/mnt")
        # From here on nothing is looked up by its path on the machine: /tmp, where it may be, is replaced below.
        binds = {"scratch": self.work, **catalogue.folders(self.test, self.work, binaries, pip)}
        os.chmod(self.work / "exchange", 0o1777)
        for name, source in binds.items():
            os.mkdir(f"/mnt/{name}")
            run("mount", "--bind", str(source), f"/mnt/{name}")
        self.work = pathlib.Path("/mnt/scratch")
        for folder in ("/tmp", "/run", "/root", "/dev/shm"):
            run("mount", "-t", "tmpfs", "-o", f"mode={'700' if folder == '/root' else '1777'}", "netcond", folder)
        run("ip", "link", "set", "lo", "up")

    def environment(self, side):
        mine, peer = (NETCON, MONITOR) if side == "netcon" else (MONITOR, NETCON)
        more = {self.test.seconds_from: os.environ[self.test.seconds_from]} if self.test.seconds_from in os.environ else {}
        return more | {
            "PATH": "/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LANG": "C.UTF-8", "TERM": "dumb",
            "PYTHONPATH": "/mnt/pip", "PYTHONDONTWRITEBYTECODE": "1", "PYTHONUNBUFFERED": "1",
            "TEST": self.test.identifier, "TEST_DIR": "/mnt/test", "APP_DIR": "/mnt/app", "EXCHANGE": "/mnt/exchange", "SIDE": side,
            "FORM": "full" if self.full else "short", "ADDR": mine[0], "ADDR6": mine[1], "PEER": peer[0], "PEER6": peer[1],
            "DAEMON_PID": str(self.daemon or ""), "LIB": "/mnt/lib/test.sh",
        }

    def start_daemon(self):
        home = pathlib.Path("/mnt/home/networks.d")
        home.mkdir()
        lines = ["link=tap:nc0", f"address={NETCON[0]}/24", f"address={NETCON[1]}/64", *self.test.network]
        (home / f"{NETWORK}.conf").write_text("".join(line + "\n" for line in lines))
        log = self.work / "daemon.log"
        reader, writer = os.pipe()
        # The daemon's own soft limit of descriptors is its business; what it inherits here is what a service gets.
        self.daemon = self.children.spawn(
            ["/mnt/bin/netcond", "--ready-fd", str(writer), "/mnt/home"], log, self.environment("monitor"), "/",
            pass_fds=(writer,))
        os.close(writer)
        self.make_link(reader, log)
        exchange = pathlib.Path("/mnt/exchange")
        (exchange / f"{self.test.identifier}_addr.tmp").write_text(NETCON[0] + "\n")

    def make_link(self, reader, log):
        """Waits for "ready", and gives the kernel's side of the tap its addresses."""
        os.set_blocking(reader, False)
        end, said = time.monotonic() + READY_SECONDS, b""
        while b"ready" not in said:
            self.children.reap()
            if self.daemon in self.children.ended or time.monotonic() > end:
                raise Broken("the daemon does not serve: " + log.read_text(errors="replace").strip())
            signal.sigtimedwait({signal.SIGCHLD}, 0.01)
            try:
                said += os.read(reader, 64)
            except BlockingIOError:
                pass
        os.close(reader)
        self.configure_link()

    def configure_link(self):
        run("ip", "address", "add", MONITOR[0] + "/24", "dev", "nc0")
        run("ip", "-6", "address", "add", MONITOR[1] + "/64", "dev", "nc0", "nodad")
        run("ip", "link", "set", "nc0", "up")

    def start_container(self):
        if self.engine == "native":
            return self.start_native()
        environment = self.environment("netcon")
        environment["ZT_NC_NETWORK"] = f"/mnt/home/nc_{NETWORK}"
        environment["NETCOND_INTERCEPT_LIBRARY"] = "/mnt/bin/libzerotierintercept.so"
        if self.engine != "namespaces":
            return self.want_container(environment)
        return self.children.spawn(CONTAINER, self.work / "netcon.log", environment, "/mnt/netcon")

    def want_container(self, environment):
        """The engine's, which engine.Container runs: a process of ours stands for it, and ends with its status."""
        wanted = "".join(f"{name}={value}\n" for name, value in environment.items() if name != "HOME")
        (self.work / ".wanted").write_text(wanted)
        (self.work / ".wanted").rename(self.work / "container.wanted")
        wait = "until [ -e /mnt/scratch/container.exit ]; do sleep 0.05; done; exit $(cat /mnt/scratch/container.exit)"
        return self.children.spawn(["sh", "-c", wait], self.work / "netcon.log", environment, "/mnt/netcon")

    def start_native(self):
        """The same script on the kernel's stack, across a veth: does a test fail by itself?"""
        environment = {**self.environment("netcon"), "NATIVE": "1"}
        pid = self.children.spawn(CONTAINER, self.work / "netcon.log", environment, "/mnt/netcon")
        end = time.monotonic() + READY_SECONDS
        while os.readlink(f"/proc/{pid}/ns/net") == os.readlink("/proc/self/ns/net"):
            if time.monotonic() > end:
                raise Broken("the container has no network namespace")
            signal.sigtimedwait({signal.SIGCHLD}, 0.01)
        run("ip", "link", "add", "nc0", "type", "veth", "peer", "name", "eth0", "netns", str(pid))
        for command in (["link", "set", "lo", "up"], ["address", "add", NETCON[0] + "/24", "dev", "eth0"],
                        ["-6", "address", "add", NETCON[1] + "/64", "dev", "eth0", "nodad"], ["link", "set", "eth0", "up"]):
            run("nsenter", "--target", str(pid), "--net", "ip", *command)
        self.configure_link()
        self.publish("link_is_up")
        return pid

    def start_monitor(self):
        return self.children.spawn(
            ["/mnt/test/monitor_entrypoint.sh"], self.work / "monitor.log", self.environment("monitor"), "/mnt/monitor")

    def play(self):
        """Runs both scripts to their ends. Returns the result and its reason."""
        if os.path.exists("/mnt/test/prepare.sh"):
            prepare = self.children.spawn(["/mnt/test/prepare.sh"], self.work / "prepare.log", self.environment("netcon"),
                                          "/mnt/netcon")
            if self.children.wait([prepare], self.deadline) is None or self.children.ended[prepare] != 0:
                return self.verdict("prepare.sh", self.children.ended.get(prepare))
        descriptors = 0
        if self.engine != "native":
            self.start_daemon()
            descriptors = self.descriptors()
        sides = {self.start_container(): "netcon", self.start_monitor(): "monitor"}
        waiting = dict(sides)
        while waiting:
            pid = self.children.wait([*waiting, *([self.daemon] if self.daemon else [])], self.deadline)
            if pid is None:
                return "FAIL", f"not ended in time: {' and '.join(waiting.values())} ({self.limit()} s)"
            if pid == self.daemon:
                return "FAIL", f"the daemon ended with status {self.children.ended[pid]}"
            side = waiting.pop(pid)
            if self.children.ended[pid] != 0:
                self.publish(f"{side}_failed")
                return self.verdict(f"{side}_entrypoint.sh", self.children.ended[pid])
            self.publish(f"{side}_done")
        return ("OK", "") if self.engine == "native" else self.end_daemon(descriptors)

    def limit(self):
        return self.test.limit("full" if self.full else "short")

    def publish(self, name):
        (pathlib.Path("/mnt/exchange") / name).write_text("\n")

    def verdict(self, script, status):
        reason = pathlib.Path("/mnt/exchange/reason")
        said = reason.read_text(errors="replace").strip() if reason.exists() else ""
        if status == SKIPPED:
            return "SKIP", said or f"{script} says so"
        return "FAIL", said or (f"{script}: exit status {status}" if status is not None else f"{script}: not ended in time")

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.daemon}/fd"))

    def end_daemon(self, descriptors):
        end = time.monotonic() + SETTLE_SECONDS
        while self.descriptors() > descriptors:
            if time.monotonic() > end:
                return "FAIL", f"the daemon holds {self.descriptors()} descriptors, {descriptors} before the test"
            signal.sigtimedwait({signal.SIGCHLD}, 0.05)
        os.kill(self.daemon, signal.SIGTERM)
        if self.children.wait([self.daemon], time.monotonic() + STOP_SECONDS) is None:
            return "FAIL", "the daemon does not end after TERM"
        if self.children.ended[self.daemon] != 0:
            return "FAIL", f"the daemon's exit status is {self.children.ended[self.daemon]}"
        return "OK", ""


def main():
    folder, work, binaries, form, pip, engine = sys.argv[1:7]
    test = next(test for test in catalogue.find(top=pathlib.Path(folder).parent.parent)
                if test.folder == pathlib.Path(folder))
    stage = Stage(test, work, form, engine)
    begin = time.monotonic()
    try:
        stage.prepare_folders(binaries, pip)
        result, reason = stage.play()
    except Broken as broken:
        result, reason = "FAIL", f"the stage: {broken}"
    notes = pathlib.Path("/mnt/exchange/notes")
    outcome = {
        "result": result, "reason": reason, "seconds": round(time.monotonic() - begin, 1),
        "notes": notes.read_text(errors="replace").split("\n")[:-1] if notes.exists() else [],
    }
    (stage.work / "outcome.json").write_text(json.dumps(outcome))


main()
