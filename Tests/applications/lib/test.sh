# Sourced by the scripts of a test (bash), on both sides. What they see: README.md.
#
#   $ADDR $ADDR6   this side's addresses       $PEER $PEER6   the other side's
#   $FORM          short or full               $TEST_DIR      the test's folder
#   $EXCHANGE      files for the other side    $SIDE          netcon or monitor
# The current folder is this side's own, empty at the start (but for what prepare.sh made: that is netcon's).
set -euo pipefail

readonly poll_seconds=0.05 # between two looks at a condition that is waited for

# Ends the test: cause.
fail() {
  printf 'FAIL: %s: %s\n' "$SIDE" "$*" >&2
  [[ -s $EXCHANGE/reason ]] || printf '%s: %s\n' "$SIDE" "$*" >"$EXCHANGE/reason"
  exit 1
}

# Ends the test, which cannot run here: reason.
skip() {
  printf 'SKIP: %s\n' "$*" >&2
  printf '%s\n' "$*" >"$EXCHANGE/reason"
  exit 77
}

# A figure for the table.
note() {
  printf 'note: %s\n' "$*"
  printf '%s\n' "$*" >>"$EXCHANGE/notes"
}

step() { printf '== %s\n' "$*"; }

# In functions too; in a subshell a failure may be meant, and ends nothing.
set -o errtrace
trap 'status=$?; ((BASH_SUBSHELL)) || [[ -s $EXCHANGE/reason ]] || printf "%s: line %s: %s: exit status %s\n" "$SIDE" "$LINENO" "$BASH_COMMAND" "$status" >"$EXCHANGE/reason"' ERR

is_full() { [[ $FORM == full ]]; }
# size SHORT FULL: the one for this form.
size() { if is_full; then printf '%s\n' "$2"; else printf '%s\n' "$1"; fi; }

# publish NAME [VALUE]: tells the other side, at once and whole.
publish() {
  printf '%s\n' "${2-}" >"$EXCHANGE/.$1.$SIDE"
  mv "$EXCHANGE/.$1.$SIDE" "$EXCHANGE/$1"
}

# await NAME [SECONDS]: waits for what the other side published, prints it.
await() {
  wait_for "${2:-60}" "the other side's '$1'" test -e "$EXCHANGE/$1"
  cat "$EXCHANGE/$1"
}

# wait_for SECONDS WHAT COMMAND…: until the command succeeds.
wait_for() {
  local seconds=$1 what=$2
  shift 2
  local end=$((SECONDS + seconds))
  until "$@" >/dev/null 2>&1; do
    if ((SECONDS > end)); then fail "no $what within $seconds s"; fi
    sleep "$poll_seconds"
  done
}

# wait_port ADDRESS PORT [SECONDS]: until somebody accepts there.
wait_port() { wait_for "${3:-60}" "server at $1 port $2" python3 -c '
import socket, sys
socket.create_connection((sys.argv[1], int(sys.argv[2])), 5).close()' "$1" "$2"; }

# The server side's end: waits until the other side has passed, then ends the programs by pid, which must do so in time.
serve_until_done() {
  local pid
  await "$(if [[ $SIDE == netcon ]]; then echo monitor; else echo netcon; fi)_done" 3600 >/dev/null
  for pid in "$@"; do stop "$pid"; done
}

# stop PID [SIGNAL]: a program of this script ends, in time. Any exit status will do, but being killed by a signal other
# than the one that was sent.
stop() {
  local pid=$1 signal=${2:-TERM} status=0
  kill -s "$signal" "$pid" 2>/dev/null || fail "process $pid has ended before its time"
  wait_for 20 "end of process $pid after $signal" not_running "$pid"
  wait "$pid" 2>/dev/null || status=$?
  if ((status > 128 && status != 128 + $(kill -l "$signal"))); then
    fail "process $pid was killed by signal $(kill -l "$status") when it should end by $signal"
  fi
}

# A zombie does not run.
not_running() { [[ ! -e /proc/$1 || $(cut -d ' ' -f 3 "/proc/$1/stat" 2>/dev/null) == Z ]]; }

# check WHAT EXPECTED ACTUAL
check() {
  if [[ $2 != "$3" ]]; then fail "$1: '$3', expected '$2'"; fi
  printf 'ok: %s: %s\n' "$1" "$(head -c 100 <<<"$3")"
}

# random_file NAME BYTES (with a suffix, as head(1) has them)
random_file() { head -c "$2" /dev/urandom >"$1"; }

md5() { md5sum "$@" | cut -d ' ' -f 1; }

# The usual check: who sends a big file and who has received it each say its md5; either side compares.
bigfile_tx() { publish tx_bigfile_md5sum.tmp "$(md5 "$1")"; }
bigfile_rx() {
  publish rx_bigfile_md5sum.tmp "$(md5 "$1")"
  check "md5 of $1" "$(await tx_bigfile_md5sum.tmp)" "$(await rx_bigfile_md5sum.tmp)"
}

# self_signed NAME: NAME.key and NAME.pem, a certificate for both addresses of both sides.
self_signed() {
  openssl req -x509 -newkey rsa:2048 -nodes -keyout "$1.key" -out "$1.pem" -days 30 -subj /CN=netcond-test \
    -addext "subjectAltName=IP:$ADDR,IP:$ADDR6,IP:$PEER,IP:$PEER6,IP:127.0.0.1,DNS:localhost" 2>/dev/null
}
