#!/usr/bin/env python3
"""The harness tests itself: does it fail what must fail, and does it leave nothing behind?"""

import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time
import unittest

sys.dont_write_bytecode = True
HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
import report  # noqa: E402
from catalogue import Broken, Test, find  # noqa: E402

PASSES = "exit 0\n"
ABOUT = "application=none\nversion=echo 1\nrole=server\ndoes=nothing\nseconds=30\n"
HUNG = f"sleep 1{os.getpid():07}"  # unlike those of another run beside this one


def processes(word):
    """Process ids whose command line holds `word`."""
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            line = pathlib.Path(f"/proc/{name}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue  # it has ended meanwhile
        if word in line:
            found.append(int(name))
    return found


class Harness(unittest.TestCase):
    def setUp(self):
        temporary = tempfile.TemporaryDirectory(prefix="netcond-selftest.")
        self.addCleanup(temporary.cleanup)
        self.top = pathlib.Path(temporary.name) / "tests"
        self.results = pathlib.Path(temporary.name) / "results"

    def add(self, name, netcon=PASSES, monitor=PASSES, about=ABOUT):
        folder = self.top / "self" / name
        folder.mkdir(parents=True)
        (folder / "about").write_text(about)
        for script, text in (("netcon", netcon), ("monitor", monitor)):
            path = folder / f"{script}_entrypoint.sh"
            path.write_text('#!/usr/bin/env bash\n. "$LIB"\n' + text)
            path.chmod(0o755)

    def command(self):
        return [sys.executable, "-B", str(HERE / "run.py"), "test", "--tests", str(self.top), "--results", str(self.results)]

    def run_all(self):
        done = subprocess.run(self.command(), capture_output=True, text=True, timeout=240)
        return done.returncode, done.stdout + done.stderr

    def result(self, name):
        """The text of the one result file of a test, and its first word's file name."""
        files = list(self.results.glob(f"*.self_{name}.txt"))
        self.assertEqual(len(files), 1, files)
        return files[0].name.split(".")[0], files[0].read_text()

    def test_outcomes(self):
        self.add("passes", monitor="note 5 apples\n")
        self.add("exits", netcon="step here\nfalse\n", monitor="await never 1000\n")
        self.add("exits_within", netcon="broken() {\n  false\n}\nbroken\n", monitor="await never 1000\n")
        self.add("differs", netcon="random_file a 10\nbigfile_tx a\n", monitor="random_file b 10\nbigfile_rx b\n")
        self.add("skips", netcon='skip "no moon"\n', monitor="await never 1000\n")
        self.add("hangs", netcon=HUNG + "1\n", monitor=HUNG + "2 & wait\n", about=ABOUT.replace("=30", "=3"))
        self.add("kills", monitor='kill -KILL "$DAEMON_PID"\nawait never 1000\n')
        self.add("dies", netcon=HUNG + "3 &\npid=$!\npublish pid\nserve_until_done $pid\n", monitor="await pid\n")
        self.add("ends_early", netcon="true & pid=$!\nwait $pid\nserve_until_done $pid\n")
        status, said = self.run_all()
        self.assertEqual(status, 1, said)
        self.assertIn("9 tests: 2 OK, 6 FAIL, 1 SKIP", said)
        expected = {
            "passes": ("OK", "5 apples"), "exits": ("FAIL", "netcon: line 4: false: exit status 1"),
            "exits_within": ("FAIL", "netcon: line 4: false: exit status 1"),
            "differs": ("FAIL", "monitor: md5 of b"), "skips": ("SKIP", "no moon"), "hangs": ("FAIL", "not ended in time"),
            "kills": ("FAIL", "the daemon ended with status -9"), "dies": ("OK", ""),
            "ends_early": ("FAIL", "has ended before its time")}
        for name, (result, text) in expected.items():
            self.assertEqual(self.result(name)[0], result, name)
            self.assertIn(text, self.result(name)[1])
        self.assertEqual(processes(HUNG), [])

    def test_container_has_no_network_but_netconds(self):
        self.add("closed", netcon="""
interfaces=$(env LD_PRELOAD= ZT_NC_NETWORK= ip -o link | cut -d: -f2 | tr -d ' ')
check interfaces "lo nowhere@eth0 eth0@nowhere" "$(echo $interfaces)"
env LD_PRELOAD= ZT_NC_NETWORK= python3 - "$PEER" <<'P'
import errno, socket, sys
for family, address in ((socket.AF_INET, sys.argv[1]), (socket.AF_INET, "127.0.0.1")):
    assert socket.socket(family).connect_ex((address, 80)) == errno.ENETUNREACH, address
P
python3 -c 'import socket, sys; s = socket.create_connection((sys.argv[1], 80), 20); s.sendall(b"x")' "$PEER"
""", monitor="""
python3 -c '
import socket
s = socket.create_server(("", 80)); s.settimeout(20)
c, peer = s.accept()
assert peer[0] == "'$PEER'" and c.recv(1) == b"x"'
""")
        status, said = self.run_all()
        self.assertEqual(status, 0, said + self.result("closed")[1])

    def test_nothing_is_left_when_the_harness_is_killed(self):
        self.add("long", netcon=HUNG + "4\n", monitor=HUNG + "5\n")
        environment = {**os.environ, "TMPDIR": str(self.top.parent)}
        harness = subprocess.Popen(self.command(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)
        self.wait("the test to run", lambda: len(processes(HUNG)) == 2)
        harness.send_signal(signal.SIGKILL)
        harness.wait()
        self.wait("all to end", lambda: not processes(HUNG) and not processes(f"{self.top.parent}/netcond-apps."))

    def wait(self, what, condition):
        end = time.monotonic() + 60
        while not condition():
            self.assertLess(time.monotonic(), end, f"waiting for {what}")
            time.sleep(0.05)

    def test_mistakes_in_about(self):
        for about, message in (
                (ABOUT + "colour=red\n", "about:6: no key=value of a known key"), (ABOUT + "seconds=soon\n", "about:6: seconds is"),
                (ABOUT.replace("server", "king"), "role is one of"), ("application=x\n", "the key role is missing")):
            with self.subTest(message):
                self.setUp()
                self.add("wrong", about=about)
                with self.assertRaisesRegex(Broken, message):
                    find(top=self.top)


class Table(unittest.TestCase):
    def test_rows_are_replaced_kept_and_removed(self):
        with tempfile.TemporaryDirectory() as folder:
            document = pathlib.Path(folder) / "document.md"
            document.write_text(f"before\n{report.BEGIN}\n{report.HEADER}\n| --- |\n| a/one | old |\n| b/two | kept |\n| c/gone | x |\n"
                                f"{report.END}\nafter\n")
            outcome = {"result": "OK", "reason": "", "notes": ["5 | 6"], "version": "1", "date": "2026-01-01"}
            test = Test(pathlib.Path(folder), "a/one", application="A", role="client", does="much")
            report.update_document([(test, outcome)], {"a/one", "b/two"}, document)
            lines = document.read_text().splitlines()
            self.assertEqual(lines[4:6], ["| a/one | A | 1 | client | much; 5 \\| 6 | OK | 2026-01-01 |", "| b/two | kept |"])
            self.assertEqual([lines[0], *lines[6:]], ["before", report.END, "after"])


unittest.main()
