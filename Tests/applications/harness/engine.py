"""What makes a container: namespaces (the default, no engine needed), docker or podman."""

import pathlib
import shutil
import subprocess
import time
import uuid

from catalogue import HERE, ROOT, Broken

ENGINES = ("namespaces", "docker", "podman")


def check(name):
    """Raises Broken, with the cure, where the engine is unknown or does not run."""
    if name not in (*ENGINES, "native"):
        raise Broken(f"ENGINE is one of {', '.join(ENGINES)}, not {name!r}")
    if name in ("namespaces", "native"):
        return
    if not shutil.which(name):
        raise Broken(f"ENGINE={name}: there is no program {name}; cure: install it, or leave ENGINE away")
    done = subprocess.run([name, "info"], capture_output=True, text=True)
    if done.returncode != 0:
        raise Broken(f"ENGINE={name}: the engine does not run: {(done.stderr or done.stdout).strip().splitlines()[-1]}")


def image(test):
    return f"netcond-test-{test.identifier.lower()}"


def build(name, tests):
    """One image for each test: of its own netcon_dockerfile, or of the common one with the test's packages."""
    if name in ("namespaces", "native"):
        return
    for test in tests:
        own = test.folder / "netcon_dockerfile"
        dockerfile = own if own.exists() else HERE / "lib" / "netcon_dockerfile"
        subprocess.run([name, "build", "--tag", image(test), "--file", str(dockerfile), "--build-arg",
                        "PACKAGES=" + " ".join(test.packages), str(test.folder)], check=True)


class Container:
    """A test's container, run by an engine for a stage that asks for it.

    The engine belongs to the machine, not to the stage's namespaces, so it is the harness that runs it: the stage leaves
    its wish (the environment, one NAME=VALUE a line) in `container.wanted`, and finds the exit status in `container.exit`.
    """

    def __init__(self, name, test, work, binds):
        self.engine, self.test, self.work, self.binds = name, test, pathlib.Path(work), binds
        self.name = f"netcond-test-{uuid.uuid4().hex[:12]}"
        self.process = None

    def serve(self, stage, deadline):
        """Until the process `stage` has ended, or the deadline."""
        wanted = self.work / "container.wanted"
        while stage.poll() is None and time.monotonic() < deadline:
            if self.process is None and wanted.exists():
                self.start(wanted)
            if self.process is not None and self.process.poll() is not None and not (self.work / "container.exit").exists():
                (self.work / ".exit").write_text(str(self.process.returncode))
                (self.work / ".exit").rename(self.work / "container.exit")
            time.sleep(0.05)  # neither a file nor a child can be waited for together

    def start(self, environment):
        command = [self.engine, "run", "--rm", "--name", self.name, "--network", "none", "--env-file", str(environment)]
        for target, source in self.binds.items():
            command += ["--volume", f"{source}:/mnt/{target}"]
        command += ["--workdir", "/mnt/netcon", image(self.test), "/mnt/scripts/zerotier-intercept", "/mnt/test/netcon_entrypoint.sh"]
        with open(self.work / "netcon.log", "ab") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def end(self):
        if self.process is None:
            return
        subprocess.run([self.engine, "rm", "--force", self.name], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.process.kill()
        self.process.wait()
