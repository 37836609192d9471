"""Results as files, as a table on the terminal, and as the table of docs/compatibility.md."""

import json
import pathlib
import re
import shutil
import subprocess

from catalogue import ROOT, Broken

DOCUMENT = ROOT / "docs" / "compatibility.md"
BEGIN, END = "<!-- applications: made by make apps -->", "<!-- applications: end -->"
HEADER = "| test | application | version | role | what was done | result | date |"
LOGS = ("netcon", "monitor", "daemon", "prepare")


def version(test):
    """The application's version: of the Debian package, or what the command prints."""
    if test.version:
        done = subprocess.run(test.version, shell=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              env={"PATH": "/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"})
        return done.stdout.strip().split("\n")[0] if done.returncode == 0 else "?"
    done = subprocess.run(["dpkg-query", "--show", "--showformat=${Version}", test.package], capture_output=True, text=True)
    return done.stdout.strip() if done.returncode == 0 else "?"


def write(results, test, outcome, work):
    """_results/OK.<test>.txt, FAIL.… or SKIP.…: formatted; _results/raw/<test>/: each script's and the daemon's words."""
    raw = results / "raw" / test.identifier
    shutil.rmtree(raw, ignore_errors=True)
    raw.mkdir(parents=True)
    for old in results.glob(f"*.{test.identifier}.txt"):
        old.unlink()
    lines = [f"{outcome['result']} {test.name}", ""]
    for key, value in row(test, outcome).items():
        lines.append(f"{key + ':':14}{value}")
    lines.append(f"{'seconds:':14}{outcome['seconds']}")
    for log in LOGS:
        source = work / f"{log}.log"
        if source.exists():
            shutil.copy(source, raw / f"{log}.log")
            lines += ["", f"-- {log}", source.read_text(errors="replace").rstrip()]
    (raw / "outcome.json").write_text(json.dumps(outcome, indent=2) + "\n")
    (results / f"{outcome['result']}.{test.identifier}.txt").write_text("\n".join(lines) + "\n")


def row(test, outcome):
    done = "; ".join([test.does, *outcome["notes"]])
    result = outcome["result"] + (f": {outcome['reason']}" if outcome["reason"] else "")
    return {"test": test.name, "application": test.application, "version": outcome["version"], "role": test.role,
            "what was done": done, "result": result, "date": outcome["date"]}


def line(values):
    return "| " + " | ".join(str(value).replace("|", "\\|").replace("\n", " ") for value in values) + " |"


def print_table(outcomes):
    widths = [max(len(test.name) for test, _ in outcomes), max(len(outcome["version"]) for _, outcome in outcomes)]
    for test, outcome in outcomes:
        print(f"{outcome['result']:4}  {test.name:{widths[0]}}  {outcome['version']:{widths[1]}}  {outcome['seconds']:6.1f} s  "
              f"{outcome['reason'] or '; '.join(outcome['notes'])}")
    count = {result: sum(outcome["result"] == result for _, outcome in outcomes) for result in ("OK", "FAIL", "SKIP")}
    print(f"{len(outcomes)} tests: {count['OK']} OK, {count['FAIL']} FAIL, {count['SKIP']} SKIP")
    return count


def update_document(outcomes, known_tests, document=DOCUMENT):
    """Replaces the rows of the tests that ran; rows of tests that exist no more go."""
    text = document.read_text()
    found = re.search(re.escape(BEGIN) + r"\n(.*?)" + re.escape(END), text, re.DOTALL)
    if not found:
        raise Broken(f"{document}: the marks around the table of applications are gone; cure: git checkout {document.name}")
    rows = {}
    for old in found.group(1).splitlines()[2:]:
        name = old.split("|")[1].strip() if old.startswith("|") else ""
        if name in known_tests:
            rows[name] = old
    for test, outcome in outcomes:
        rows[test.name] = line(row(test, outcome).values())
    table = "\n".join([HEADER, "|" + " --- |" * (HEADER.count("|") - 1), *(rows[name] for name in sorted(rows))])
    document.write_text(text[:found.start()] + f"{BEGIN}\n{table}\n{END}" + text[found.end():])
