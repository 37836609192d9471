"""What makes a container: namespaces (the default, no engine needed), docker or podman."""

import shutil
import subprocess

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
