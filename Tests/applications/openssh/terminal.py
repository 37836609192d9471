"""An interactive session, as a person at a terminal has it: ssh -tt on a pseudo-terminal of its own, its size, Ctrl-C, the
exit status. Exits with 0 if the session went as it does on Linux."""

import fcntl
import os
import pty
import re
import select
import struct
import sys
import termios
import time

SECONDS = 30  # for each answer


class Terminal:
    def __init__(self, command):
        self.said = ""
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execvp(command[0], command)
        self.resize(24, 80)

    def resize(self, rows, columns):
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, text):
        os.write(self.fd, text.encode())

    def expect(self, pattern):
        """Until what was said since the last time holds `pattern`: its match."""
        end = time.monotonic() + SECONDS
        while not (match := re.search(pattern, self.said)):
            ready, _, _ = select.select([self.fd], [], [], max(0, end - time.monotonic()))
            if not ready:
                sys.exit(f"terminal: no {pattern!r} within {SECONDS} s, but {self.said!r}")
            try:
                self.said += os.read(self.fd, 65536).decode(errors="replace")
            except OSError:
                sys.exit(f"terminal: the session ended before {pattern!r}: {self.said!r}")
        self.said = self.said[match.end():]
        return match

    def end(self):
        """Reads to the end; the exit status."""
        try:
            while os.read(self.fd, 65536):
                pass
        except OSError:  # EIO: the other end of the pty is closed
            pass
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def main():
    # What is typed while nobody asks for it may be lost, so each line waits for a prompt; and no answer is awaited that the
    # echo of the typed line holds, too: typed, it is in two parts.
    terminal = Terminal(["ssh", "-tt", "guest@peer", "exec bash --norc --noprofile -i"])
    terminal.expect(r"\$ ")
    terminal.type("PS1='rea''dy> '\n")
    terminal.expect("ready> ")
    terminal.type("tty; echo term=$TERM\n")
    terminal.expect("/dev/pts/[0-9]+\r\n")
    terminal.expect(f"term={os.environ['TERM']}\r\n")
    terminal.expect("ready> ")

    # Each size arrives as a SIGWINCH at ssh, then as a message at sshd.
    for rows, columns in ((33, 111), (44, 99)):
        terminal.resize(rows, columns)
        terminal.type(f"until [ \"$(stty size)\" = '{rows} {columns}' ]; do sleep 0.02; done; echo si''ze\n")
        terminal.expect("size\r\n")
        terminal.expect("ready> ")

    # Ctrl-C reaches the command in front, and the shell goes on. It is there when it speaks (bash itself, between two
    # commands, may miss one).
    terminal.type("sh -c 'echo be\"\"gun; exec sleep 1000'\n")
    terminal.expect("begun\r\n")
    terminal.type("\x03")
    terminal.expect("ready> ")
    terminal.type("echo sta''tus=$?\n")
    terminal.expect("status=130")
    terminal.expect("ready> ")

    # Line by line, as typed and echoed.
    lines = 1000 if os.environ["FORM"] == "full" else 100
    terminal.type("echo be''gun; cat\n")
    terminal.expect("begun\r\n")
    for number in range(lines):
        terminal.type(f"line {number}\n")
        terminal.expect(f"line {number}\r\nline {number}\r\n")
    terminal.type("\x04")
    terminal.expect("ready> ")
    terminal.type("exit 9\n")
    status = terminal.end()
    if status != 9:
        sys.exit(f"terminal: exit status {status}, not 9")
    print(f"ok: a terminal's size, Ctrl-C, {lines} lines and the exit status")


main()
