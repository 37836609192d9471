#!/usr/bin/env bash
# make demo: programs that know nothing of netcond move a file over a network that exists only inside its daemon.
#
#   1. Two networks on one hub, in one daemon: python3 -m http.server in the one, curl in the other, IPv4 and IPv6.
#   2. With root and /dev/net/tun: a third network on a tap, whose other end is the kernel's own stack in a network
#      namespace; the file goes both ways.
#
# Every copy's SHA-256 is compared with the original's; any difference, and any step that does not end in its time, makes
# the exit status non-zero. All that is made here (processes, namespace, tap, files) bears this process's number and is
# gone at the end, however it ends.
#
#   NETCOND_BIN_DIR   folder with netcond and libzerotierintercept.so (default: .build/release)
#   DEMO_MEGABYTES    size of the file (default: 100)
set -euo pipefail
cd "$(dirname "$0")/.."
PATH=$PATH:/usr/sbin:/sbin

readonly bin=${NETCOND_BIN_DIR:-$PWD/.build/release}
readonly megabytes=${DEMO_MEGABYTES:-100}
readonly start_seconds=20    # for the daemon, or a server, to say that it serves
readonly connect_seconds=20  # for a first connection: duplicate address detection takes IPv6 a second or two
readonly transfer_seconds=60 # for one copy
readonly stop_seconds=10     # for a process to end after TERM

readonly left=00000000000000aa right=00000000000000bb outer=00000000000000cc
readonly left4=10.77.1.1 left6=fd77::1 right4=10.77.1.2 right6=fd77::2
readonly outer4=10.78.1.1 outer6=fd78::1 kernel4=10.78.1.2 kernel6=fd78::2
readonly port=8080
readonly tap=ncd$$ namespace=netcond-demo-$$

bold='' plain=''
if [[ -t 1 ]]; then bold=$'\e[1m' plain=$'\e[0m'; fi
title() { printf '\n%s%s%s\n' "$bold" "$*" "$plain"; }
say() { printf '  %s\n' "$*"; }

home='' log=/dev/null failed=0
daemon='' servers=()
namespace_is_ours=0

fail() { # cause, cure…
  failed=1
  {
    printf '\ndemo: FAILED: %s\n' "$1"
    shift
    if (($#)); then printf '  %s\n' "$@"; fi
    if [[ -s $log ]]; then
      printf "  The daemon's last lines:\n"
      tail -n 15 "$log" | sed 's/^/    /'
    fi
  } >&2
  exit 1
}

ends_within() { # seconds pid
  timeout "$1" tail --pid="$2" --sleep-interval=0.02 --follow /dev/null
}

stop_servers() {
  local pid
  for pid in ${servers[@]+"${servers[@]}"}; do
    kill "$pid" 2>/dev/null || continue
    ends_within "$stop_seconds" "$pid" || kill -KILL "$pid" 2>/dev/null || true
    wait "$pid" 2>/dev/null || true
  done
  servers=()
}

# Sets daemon_status, the daemon's exit status.
stop_daemon() {
  daemon_status=0
  if [[ -z $daemon ]]; then return; fi
  kill -TERM "$daemon" 2>/dev/null || true
  ends_within "$stop_seconds" "$daemon" || kill -KILL "$daemon" 2>/dev/null || true
  wait "$daemon" 2>/dev/null || daemon_status=$?
  daemon=''
}

clean_up() {
  local status=$?
  trap - EXIT
  trap '' INT TERM HUP
  stop_servers
  stop_daemon
  if ((namespace_is_ours)); then ip netns del "$namespace" || true; fi
  if [[ -n $home ]]; then rm -rf "$home"; fi
  if ((status != 0 && !failed)); then
    printf '\ndemo: FAILED (status %s).\n' "$status" >&2
  fi
  exit "$status"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# What is needed ----------------------------------------------------------------------------------------------------

for program in "$bin/netcond" "$bin/libzerotierintercept.so"; do
  [[ -e $program ]] || fail "no $program." "Cure: make build (make demo does it)."
done
for program in curl python3 sha256sum timeout; do
  command -v "$program" >/dev/null || fail "no '$program' on PATH." "Cure: scripts/setup.sh demo"
done
# The interpreter itself, not a version manager's wrapper around it.
python=$(python3 -c 'import sys; print(sys.executable)')
readonly python

# http.server asks the resolver for its own address's name before it serves; nobody here knows it.
export RES_OPTIONS='attempts:1 timeout:1'

# Where the tap may be had; otherwise why_no_tap says what is missing.
why_no_tap=''
if ((EUID != 0)); then
  why_no_tap='it needs root'
elif [[ ! -c /dev/net/tun ]]; then
  why_no_tap='there is no /dev/net/tun (in a container: --device /dev/net/tun)'
elif ! command -v ip >/dev/null; then
  why_no_tap="there is no 'ip' (Debian: iproute2)"
elif ! reason=$(ip netns add "$namespace" 2>&1); then
  why_no_tap="a network namespace cannot be made here: $reason"
else
  namespace_is_ours=1
  # Containers may have the device's name without the right to it, and namespaces that cannot be entered.
  if ! reason=$(ip netns exec "$namespace" true 2>&1); then
    why_no_tap="a network namespace cannot be entered here: $reason"
  elif ! reason=$(ip tuntap add dev "$tap" mode tap 2>&1 && ip tuntap del dev "$tap" mode tap 2>&1); then
    why_no_tap="a tap cannot be made here: $reason"
  fi
fi
readonly why_no_tap

# The daemon --------------------------------------------------------------------------------------------------------

title "A daemon, in a home of its own"
home=$(mktemp -d "${TMPDIR:-/tmp}/netcond-demo.XXXXXX")
log=$home/log
mkdir "$home/networks.d" "$home/served" "$home/copies"

configure() { # network line…
  local network=$1
  shift
  printf '%s\n' "$@" >"$home/networks.d/$network.conf"
  say "network $network: $*"
}
configure "$left" link=hub:demo "address=$left4/24" "address=$left6/64"
configure "$right" link=hub:demo "address=$right4/24" "address=$right6/64"
if [[ -z $why_no_tap ]]; then
  configure "$outer" "link=tap:$tap" "address=$outer4/24" "address=$outer6/64"
fi

# A process tells that it serves by a line in this pipe; one that ends before closes it. Sets line.
mkfifo "$home/pipe"
line_of() {
  local pipe
  exec {pipe}<"$home/pipe"
  line=''
  IFS= read -r -t "$start_seconds" -u "$pipe" line || true
  exec {pipe}<&-
}

"$bin/netcond" --ready-fd 9 "$home" 9>"$home/pipe" 2>"$log" &
daemon=$!
line_of
if [[ $line != ready ]]; then
  fail "the daemon ended, or did not say 'ready' within $start_seconds s."
fi
say "netcond serves as process $daemon, its home is $home"

if [[ -z $why_no_tap ]]; then
  {
    ip link set "$tap" netns "$namespace" &&
      ip -n "$namespace" link set lo up &&
      ip -n "$namespace" address add "$kernel4/24" dev "$tap" &&
      ip -n "$namespace" address add "$kernel6/64" dev "$tap" nodad &&
      ip -n "$namespace" link set "$tap" up
  } || fail "the tap $tap could not be set up in the network namespace $namespace."
  say "the kernel's end of $tap is in the network namespace $namespace: $kernel4, $kernel6"
fi

# A file, and the ways it takes -------------------------------------------------------------------------------------

head -c "$((megabytes * 1000000))" /dev/urandom >"$home/served/file"
sum_of() { sha256sum <"$1" | cut -d ' ' -f 1; }
original=$(sum_of "$home/served/file")
readonly original
say "a file of $megabytes MB of random bytes, SHA-256 ${original:0:16}…"

# Where a program runs is a prefix to its command; each of them ends in exec, so the shell's $! is the program itself.
# Both ways to intercept one are shown: netcond run, and the wrapper with the network's socket in the environment.
readonly on_left=("$bin/netcond" run --home "$home" --network "$left" --)
readonly on_right=("$bin/netcond" run --home "$home" --network "$right" --)
readonly on_outer=(env NETCOND_INTERCEPT_LIBRARY="$bin/libzerotierintercept.so" ZT_NC_NETWORK="$home/nc_$outer"
  scripts/zerotier-intercept)
readonly on_kernel=(ip netns exec "$namespace")

serve() { # address prefix…
  local address=$1
  shift
  # http.server prints "Serving HTTP on …" once it listens.
  "$@" "$python" -u -m http.server --bind "$address" --directory "$home/served" "$port" \
    >"$home/pipe" 2>"$home/server.log" &
  servers+=("$!")
  line_of
  if [[ $line != Serving* ]]; then
    fail "http.server on $address ended, or did not listen within $start_seconds s." "$(tail -n 5 "$home/server.log")"
  fi
}

results=()
fetch() { # what it shows, address, prefix…
  local shown=$1 address=$2 copy=$home/copies/file host figures seconds bytes_per_second verdict status=0
  shift 2
  host=$address
  if [[ $address == *:* ]]; then host="[$address]"; fi
  figures=$("$@" curl --silent --show-error --globoff --noproxy '*' --connect-timeout "$connect_seconds" \
    --retry 20 --retry-connrefused --retry-delay 1 --retry-max-time "$connect_seconds" --max-time "$transfer_seconds" \
    --output "$copy" --write-out '%{time_total} %{speed_download}' "http://$host:$port/file") || status=$?
  if ((status != 0)); then
    fail "curl to $host:$port ended with status $status ($shown)." \
      "The server's last lines: $(tail -n 3 "$home/server.log")"
  fi
  read -r seconds bytes_per_second <<<"$figures"
  if [[ $(sum_of "$copy") == "$original" ]]; then verdict=equal; else verdict=DIFFERENT; fi
  results+=("$(printf '%-50s %5d MB %7.2f s %8d Mbit/s   %s' \
    "$shown" "$megabytes" "$seconds" "$((${bytes_per_second%.*} * 8 / 1000000))" "$verdict")")
  printf '  %s\n' "${results[-1]}"
  if [[ $verdict != equal ]]; then
    fail "the copy differs from the original ($shown): $(stat -c %s "$copy") bytes came."
  fi
  rm -f "$copy"
}

title "Two programs, one hub: nothing of this is seen by the kernel's network"
say "\$ netcond run --network $left  -- python3 -m http.server --bind $left4 $port"
say "\$ netcond run --network $right -- curl http://$left4:$port/file"
serve "$left4" "${on_left[@]}"
fetch 'IPv4, hub: http.server -> curl' "$left4" "${on_right[@]}"
stop_servers
serve "$left6" "${on_left[@]}"
fetch 'IPv6, hub: http.server -> curl' "$left6" "${on_right[@]}"
stop_servers

if [[ -z $why_no_tap ]]; then
  title "The same programs, and the kernel's own stack as the peer, across a tap"
  say "\$ ip netns exec $namespace python3 -m http.server --bind $kernel4 $port"
  say "\$ ZT_NC_NETWORK=$home/nc_$outer zerotier-intercept curl http://$kernel4:$port/file"
  serve "$kernel4" "${on_kernel[@]}"
  fetch 'IPv4, tap: http.server on the kernel -> curl' "$kernel4" "${on_outer[@]}"
  stop_servers
  serve "$outer4" "${on_outer[@]}"
  fetch 'IPv4, tap: http.server -> curl on the kernel' "$outer4" "${on_kernel[@]}"
  stop_servers
  serve "$outer6" "${on_outer[@]}"
  fetch 'IPv6, tap: http.server -> curl on the kernel' "$outer6" "${on_kernel[@]}"
  stop_servers
else
  title "Left out: the part across a tap, as $why_no_tap"
fi

title "What the daemon tells"
say "\$ netcond status --home $home"
status=$("$bin/netcond" status --home "$home") || fail "netcond status does not answer."
printf '%s\n' "$status" | sed 's/^/  /'
if [[ $status != *"connectionsAccepted: "* ]]; then fail "netcond status knows of no connection."; fi

title "The end"
stop_daemon
if ((daemon_status != 0)); then fail "the daemon ended with status $daemon_status after TERM, not 0."; fi
leftover=$(find "$home" -maxdepth 1 \( -name 'nc_*' -o -name zerotier-one.pid \))
if [[ -n $leftover ]]; then fail "the daemon left behind: $leftover"; fi
say "${#results[@]} copies, every SHA-256 equal; the daemon ended with status 0 and removed its sockets."

cat <<NEXT

${bold}To try next${plain}
  mkdir -p ~/net/networks.d
  echo address=10.1.0.1/24 > ~/net/networks.d/0000000000000001.conf     # one file, one network
  echo address=10.1.0.2/24 > ~/net/networks.d/0000000000000002.conf     # on the same hub: they reach each other
  $bin/netcond ~/net &
  $bin/netcond run --home ~/net --network 0000000000000001 -- python3 -m http.server --bind 10.1.0.1 8080 &
  $bin/netcond run --home ~/net --network 0000000000000002 -- curl http://10.1.0.1:8080/
  $bin/netcond sockets --home ~/net                                      # who listens, who is connected
  make bench QUICK=1          # against kernel TCP, as root
  make install                # then: netcond --help; docs and limits: README.md
NEXT
