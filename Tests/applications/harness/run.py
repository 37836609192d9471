#!/usr/bin/env python3
"""Applications on netcond: each test runs an unmodified program in a container that has no network but netcond's, and
watches it from the kernel's stack across a tap. README.md tells how a test is made.

Each test gets namespaces of its own (mount, network, pid, ipc, uts) in which stage.py is the first process; without
root a user namespace besides. When that process ends, however it ends, all that the test started is gone.
"""

import argparse
import ctypes
import datetime
import json
import os
import pathlib
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import catalogue  # noqa: E402
import engine  # noqa: E402
import report  # noqa: E402
from catalogue import HERE, ROOT, Broken  # noqa: E402

PIP = ROOT / ".cache" / "applications" / "pip"
PIP_MARK = PIP / ".installed"  # names of what is there
GRACE_SECONDS = 60  # for a stage to end itself, after its test's limit
PR_SET_PDEATHSIG = 1
libc = ctypes.CDLL(None)


def install(tests):
    """Debian's packages by scripts/setup.sh, PyPI's into a folder that only the tests see."""
    packages = {package for test in tests for package in test.packages}
    wanted = sorted({package for test in tests for package in test.pip})
    if wanted:
        packages.add("python3-pip")
    packages |= {"iproute2", "procps", "openssl", "python3", "util-linux"}  # the harness and lib/ themselves
    subprocess.run([ROOT / "scripts" / "setup.sh", "packages", *sorted(packages)], check=True)
    have = installed_from_pypi()
    if set(wanted) - have:
        PIP.mkdir(parents=True, exist_ok=True)
        everything = sorted({*wanted, *have})
        done = subprocess.run(["/usr/bin/python3", "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
                               "--root-user-action=ignore", "--upgrade", "--target", PIP, *everything])
        if done.returncode == 0:
            PIP_MARK.write_text("\n".join(everything))
        else:
            print(f"applications: PyPI gives no {' '.join(wanted)} (see above): the tests that need it will be skipped")


def installed_from_pypi():
    return set(PIP_MARK.read_text().split()) if PIP_MARK.exists() else set()


def user_namespace():
    """What makes us root of namespaces where we are not root: all of /etc/subuid where newuidmap may give it."""
    if os.geteuid() == 0:
        return []
    everybody = ["unshare", "--map-root-user", "--map-auto"]
    if shutil.which("newuidmap") and subprocess.run([*everybody, "true"], stderr=subprocess.DEVNULL).returncode == 0:
        return everybody[1:]
    return ["--map-root-user"]


def missing(test, users):
    """Why a test cannot run here; empty where it can."""
    if not os.path.exists("/dev/net/tun"):
        return "there is no /dev/net/tun: the kernel's stack cannot watch (in a container: --device /dev/net/tun)"
    if not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        return "/dev/net/tun is not this user's to open: run as root, or chmod 666 /dev/net/tun as most systems have it"
    if "users" in test.needs and users == ["--map-root-user"]:
        return "needs more user ids than one: run as root, or install uidmap and have a range in /etc/subuid"
    absent = set(test.pip) - installed_from_pypi()
    if absent:
        return f"needs {' '.join(sorted(absent))} from PyPI: Tests/applications/build.sh installs it where PyPI is reached"
    return ""


def die_with_parent():
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def play(test, options, users):
    """One test on a stage of its own. Returns its outcome."""
    begin = time.monotonic()
    outcome = {"result": "SKIP", "reason": missing(test, users), "notes": []}
    with tempfile.TemporaryDirectory(prefix="netcond-apps.", ignore_cleanup_errors=True) as folder:
        work = pathlib.Path(folder)
        work.chmod(0o755)
        if not outcome["reason"]:
            outcome = play_in(test, options, users, work)
        outcome.update(seconds=round(time.monotonic() - begin, 1), version=report.version(test),
                       date=datetime.date.today().isoformat(), form=options.form)
        report.write(options.results, test, outcome, work)
    return outcome


def play_in(test, options, users, work):
    command = ["unshare", *users, "--mount", "--net", "--pid", "--ipc", "--uts", "--fork", "--kill-child=KILL", "--propagation",
               "private", "--", "/usr/bin/python3", "-B", str(HERE / "harness" / "stage.py"), str(test.folder), str(work),
               str(options.bin_dir), options.form, str(PIP) if test.pip else "", options.engine]
    limit = test.limit(options.form) + GRACE_SECONDS
    begin = time.monotonic()
    with open(work / "stage.log", "wb") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                                   preexec_fn=die_with_parent)
        container = None
        if options.engine in ("docker", "podman"):
            binds = catalogue.folders(test, work, options.bin_dir, PIP if test.pip else "")
            container = engine.Container(options.engine, test, work, binds)
        try:
            if container:
                container.serve(process, time.monotonic() + limit)
            process.wait(max(0.1, begin + limit - time.monotonic()))
        except subprocess.TimeoutExpired:
            pass
        finally:
            process.kill()
            process.wait()
            if container:
                container.end()
    outcome = work / "outcome.json"
    if outcome.exists():
        return json.loads(outcome.read_text())
    said = (work / "stage.log").read_text(errors="replace").strip().split("\n")[-1]
    return {"result": "FAIL", "reason": f"the stage ended without an outcome: {said}", "notes": []}


def run_all(tests, options):
    """As many at once as --jobs says; those that measure come last, one by one."""
    users = user_namespace()
    outcomes, lock = {}, threading.Lock()

    def work(waiting):
        while True:
            try:
                test = waiting.get_nowait()
            except queue.Empty:
                return
            outcome = play(test, options, users)
            with lock:
                outcomes[test.name] = outcome
                print(f"{outcome['result']:4}  {test.name}  {outcome['seconds']:.1f} s  {outcome['reason']}", flush=True)

    for together, jobs in ((True, options.jobs), (False, 1)):
        waiting = queue.Queue()
        for test in tests:
            if test.alone != together:
                waiting.put(test)
        threads = [threading.Thread(target=work, args=(waiting,)) for _ in range(jobs)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    return [(test, outcomes[test.name]) for test in tests]


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=("build", "test", "list"))
    parser.add_argument("substring", nargs="?", default="", help="only tests whose name (application/test) holds it")
    parser.add_argument("--full", action="store_true", help="the long form: minutes, not seconds (FORM=full does the same)")
    parser.add_argument("--document", action="store_true", help="write the table of docs/compatibility.md")
    parser.add_argument("--native", action="store_true", help="on the kernel's own stack: does the test itself work?")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="tests at once (default: one for each processor)")
    parser.add_argument("--bin-dir", default=os.environ.get("NETCOND_BIN_DIR", ROOT / ".build" / "release"),
                        help="folder with netcond and libzerotierintercept.so (default: $NETCOND_BIN_DIR, else .build/release)")
    parser.add_argument("--results", default=HERE / "_results", type=pathlib.Path, help="default: _results beside test.sh")
    parser.add_argument("--tests", default=HERE, type=pathlib.Path, help="folder of the tests (the harness tests itself so)")
    options = parser.parse_intermixed_args()
    options.form = "full" if options.full or os.environ.get("FORM") == "full" else "short"
    options.engine = "native" if options.native else os.environ.get("ENGINE", "namespaces")
    options.bin_dir = pathlib.Path(options.bin_dir).resolve()
    return options


def main():
    options = parse()
    engine.check(options.engine)
    tests = catalogue.find(options.substring, options.tests)
    if options.command == "list":
        for test in tests:
            print(f"{test.name:32} {test.role:18} {test.application}: {test.does}")
        return 0
    if options.command == "build":
        install(tests)
        engine.build(options.engine, tests)
        return 0
    for file in ("netcond", "libzerotierintercept.so"):
        if not (options.bin_dir / file).exists():
            raise Broken(f"{options.bin_dir / file} is missing; cure: make build")
    options.results.mkdir(parents=True, exist_ok=True)
    outcomes = run_all(tests, options)
    print()
    count = report.print_table(outcomes)
    if options.document and not options.native:
        report.update_document(outcomes, {test.name for test in catalogue.find(top=options.tests)})
    return 1 if count["FAIL"] else 0


try:
    sys.exit(main())
except Broken as broken:
    sys.exit(f"applications: {broken}")
except subprocess.CalledProcessError as failed:
    sys.exit(f"applications: {failed}")
