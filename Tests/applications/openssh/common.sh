# Sourced after $LIB: what the tests of OpenSSH's sessions share, whichever side is in the container.
. "${LIB%/*}/ssh.sh"

# The server's side, until the client has passed. What it serves by HTTP is for the client's tunnels.
serve_sessions() {
  mkdir /tmp/served
  python3 -m http.server --bind :: --directory /tmp/served 8000 2>web.log &
  web=$!
  wait_port "$ADDR" 8000
  start_sshd
  publish serving
  await restart 300 >/dev/null
  # sshd executes itself again.
  kill -HUP "$sshd"
  wait_for 30 "sshd that listens after HUP" listens_again 2
  publish restarted
  serve_until_done "$sshd" "$web"
  check_sshd_log
}

# The client's side: all of it.
use_sessions() {
  await serving >/dev/null
  use_ssh
  mkdir served
  random_file big "$(size 10M 100M)"
  random_file served/own 500K
  python3 -m http.server --bind :: --directory served 8001 2>web.log &
  web=$!
  wait_port "$ADDR" 8001
  logins
  streams
  at_once "$(size 6 20)"
  programs_of_sessions
  tunnels
  step "a terminal"
  python3 "$APP_DIR/terminal.py"
  step "sshd restarts by HUP"
  publish restart
  await restarted >/dev/null
  check "a login after it" root "$(ssh peer id -un)"
  stop "$web"
}

logins() {
  step "logins"
  # $SSH_CONNECTION: both ends' addresses and ports, as sshd has them from its socket.
  local said='read -r from _ to port <<<"$SSH_CONNECTION"; echo "$(id -un) $from $to $port"'
  check "login by IPv4" "root $ADDR $PEER 22" "$(ssh peer "$said")"
  check "login by IPv6" "guest $ADDR6 $PEER6 22" "$(ssh guest@peer6 "$said")"
  check "a command's exit status" 7 "$(ssh guest@peer 'exit 7' || echo $?)"
  ssh-keygen -q -t ed25519 -N '' -f strange
  check "a strange key" 255 "$(ssh -F none -o BatchMode=yes -o HostKeyAlias=server -i strange "root@$PEER" true 2>refused || echo $?)"
  check "what ssh says of it" "Permission denied (publickey)." "$(tr -d "\r" <refused | tail -n 1 | sed "s|.*: ||")"
}

# Each way through a session's standard streams; both directions at once at last.
streams() {
  local begin up down
  step "a big file through stdin and stdout"
  begin=$(milliseconds)
  check "md5 of what went in" "$(md5 big)" "$(ssh peer 'tee /tmp/served/big | md5sum' <big | cut -d ' ' -f 1)"
  up=$(rate "$(stat -c %s big)" "$(($(milliseconds) - begin))")
  begin=$(milliseconds)
  check "md5 of what came out" "$(md5 big)" "$(ssh peer6 'cat /tmp/served/big' </dev/null | md5)"
  down=$(rate "$(stat -c %s big)" "$(($(milliseconds) - begin))")
  check "md5 through both at once" "$(md5 big)" "$(ssh peer cat <big | md5)"
  check "standard error apart" "out err" "$(ssh peer 'echo out; echo err >&2' 2>err | cat - err | xargs)"
  note "$up MB/s in, $down MB/s out"
}

# Sessions that are all there at the same time, each with bytes of its own.
at_once() {
  local count=$1 number pids=()
  step "$count sessions at once"
  for ((number = 1; number <= count; number++)); do
    random_file "part$number" 1M
    # A session goes on only once all others have begun.
    ssh "$(if ((number % 2)); then echo peer; else echo peer6; fi)" "mkdir -p /tmp/present && touch /tmp/present/$number &&
      until [ \$(ls /tmp/present | wc -l) -ge $count ]; do sleep 0.1; done; cat" <"part$number" >"back$number" &
    pids+=($!)
  done
  for pid in "${pids[@]}"; do wait "$pid"; done
  check "md5 sums of all" "$(md5 part*)" "$(md5 back*)"
}

# What a session starts is where its sshd is, though sshd cleans the environment: it reaches the client's side, and only
# from the server's address.
programs_of_sessions() {
  local user
  step "sessions' own programs"
  for user in root guest; do
    check "md5 of what curl has for $user" "$(md5 served/own)" "$(ssh "$user@peer" "curl -sSf 'http://$ADDR:8001/own' | md5sum" | cut -d ' ' -f 1)"
    check "md5 by IPv6" "$(md5 served/own)" "$(ssh "$user@peer" "curl -sSf 'http://[$ADDR6]:8001/own' | md5sum" | cut -d ' ' -f 1)"
  done
  check "callers" "::ffff:$PEER $PEER6" "$(grep -o '^.*GET /own' web.log | cut -d ' ' -f 1 | sort -u | xargs)"
}

# Tunnels of one connection that stays, as a user has them: local, remote, SOCKS, and sessions of it.
tunnels() {
  step "tunnels"
  local get=(curl --silent --show-error --fail --max-time 100) expected own pids=() number
  expected=$(md5 big)
  own=$(md5 served/own)
  # -f: it goes to the background when all of these stand.
  ssh -f -N -M -S "$PWD/control" -o ExitOnForwardFailure=yes -L 9000:127.0.0.1:8000 -L "[::1]:9006:[$PEER6]:8000" -D 1080 \
    -R 9001:127.0.0.1:8001 -R "*:9002:[$ADDR6]:8001" peer
  check "md5 through -L" "$expected" "$("${get[@]}" http://127.0.0.1:9000/big | md5)"
  check "md5 through -L by IPv6" "$expected" "$("${get[@]}" 'http://[::1]:9006/big' | md5)"
  check "md5 through -D" "$expected" "$("${get[@]}" --socks5-hostname 127.0.0.1:1080 http://localhost:8000/big | md5)"
  for number in 1 2 3 4 5 6 7 8; do
    "${get[@]}" --output "copy$number" http://127.0.0.1:9000/big &
    pids+=($!)
  done
  for pid in "${pids[@]}"; do wait "$pid"; done
  check "md5 sums of 8 at once through -L" "$expected" "$(md5 copy? | sort -u)"
  check "md5 through -R" "$own" "$(ssh -S "$PWD/control" peer 'curl -sSf http://127.0.0.1:9001/own | md5sum' | cut -d ' ' -f 1)"
  check "md5 through -R on all of the server's addresses" "$own $own" \
    "$({ "${get[@]}" "http://$PEER:9002/own" | md5 && "${get[@]}" "http://[$PEER6]:9002/own" | md5; } | xargs)"
  ssh -S "$PWD/control" -O exit peer 2>/dev/null
  wait_for 20 "end of the tunnels" sh -c '! curl -s http://127.0.0.1:9000/'
}
