"""The tests: one folder `<application>/<test>/` each, described by its file `about`."""

import dataclasses
import os
import pathlib

HERE = pathlib.Path(__file__).resolve().parent.parent
ROOT = HERE.parent.parent
ROLES = ("server", "client", "server and client")


class Broken(Exception):
    """The harness itself could not do its work, or a test's folder is not as it must be."""


@dataclasses.dataclass
class Test:
    """What `about` says, as key=value lines. README.md lists the keys."""

    folder: pathlib.Path
    name: str  # <application's folder>/<test's folder>
    application: str = ""
    package: str = ""  # the Debian package whose version the table shows
    version: str = ""  # or a command that prints it
    role: str = ""
    does: str = ""
    packages: list = dataclasses.field(default_factory=list)  # Debian packages, to be installed
    pip: list = dataclasses.field(default_factory=list)  # PyPI packages, found in $PYTHONPATH
    needs: list = dataclasses.field(default_factory=list)  # "users": more user ids than one
    network: list = dataclasses.field(default_factory=list)  # more lines of the network's file
    seconds: int = 60  # time limit of the short form
    seconds_full: int = 300
    seconds_from: str = ""  # an environment variable: so many seconds more, which the scripts see
    alone: bool = False  # not beside another test: it measures

    def limit(self, form):
        """Seconds that the test may take."""
        more = os.environ.get(self.seconds_from, "") if self.seconds_from else ""
        if more and not more.isdigit():
            raise Broken(f"{self.seconds_from} is a number of seconds, not {more!r}")
        return (self.seconds_full if form == "full" else self.seconds) + int(more or 0)

    @property
    def identifier(self):
        return self.name.replace("/", "_")


def _read(folder):
    about = folder / "about"
    test = Test(folder, f"{folder.parent.name}/{folder.name}")
    for number, line in enumerate(about.read_text().splitlines(), 1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        key, separator, value = (part.strip() for part in line.partition("="))
        if not separator or not hasattr(test, key) or key in ("folder", "name", "identifier"):
            raise Broken(f"{about}:{number}: no key=value of a known key: {line!r}; cure: README.md lists the keys")
        if key == "network":
            test.network.append(value)
        elif key in ("packages", "pip", "needs"):
            getattr(test, key).extend(value.split())
        elif key in ("seconds", "seconds_full"):
            if not value.isdigit() or int(value) == 0:
                raise Broken(f"{about}:{number}: {key} is a number of seconds, not {value!r}")
            setattr(test, key, int(value))
        elif key == "alone":
            test.alone = value == "yes"
        else:
            setattr(test, key, value)
    test.limit("short")  # a mistake in the environment is told before anything runs
    for key in ("application", "role", "does"):
        if not getattr(test, key):
            raise Broken(f"{about}: the key {key} is missing")
    if test.role not in ROLES:
        raise Broken(f"{about}: role is one of {', '.join(ROLES)}, not {test.role!r}")
    if not test.package and not test.version:
        raise Broken(f"{about}: package= or version= must tell whose version is shown")
    for script in ("netcon_entrypoint.sh", "monitor_entrypoint.sh"):
        if not os.access(folder / script, os.X_OK):
            raise Broken(f"{folder / script} is missing or not executable")
    return test


def find(substring="", top=HERE):
    """All tests whose name (application/test) holds the substring, by name."""
    folders = sorted(about.parent for about in pathlib.Path(top).glob("*/*/about"))
    tests = [test for test in map(_read, folders) if substring in test.name]
    if not tests:
        raise Broken(f"no test's name holds {substring!r}")
    return tests


def folders(test, work, binaries, pip):
    """What a test sees under /mnt, by name; those of its own are made."""
    found = {"bin": binaries, "harness": HERE / "harness", "lib": HERE / "lib", "scripts": ROOT / "scripts",
             "test": test.folder, "app": test.folder.parent}
    if pip:
        found["pip"] = pip
    for name in ("exchange", "home", "netcon", "monitor"):
        found[name] = pathlib.Path(work) / name
        found[name].mkdir(exist_ok=True)
    return found
