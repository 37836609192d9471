#!/usr/bin/env bash
. "$LIB"

# The number of the configuration, in each answer, so that the client sees which master's worker serves.
generation() { printf 'add_header X-Generation %s always;\n' "$1" >generation.conf; }

# The old master renames its file, and the new one writes another: that the renamed one is there must be seen first, or
# nginx.pid may be the old master's still, or none.
is_new_master() {
  local old new
  old=$(cat nginx.pid.oldbin 2>/dev/null) || return 1
  new=$(cat nginx.pid 2>/dev/null) || return 1
  [[ -n $old && -n $new && $new != "$old" ]]
}

mkdir served
random_file served/big 10M
random_file served/small 1K
bigfile_tx served/big
generation 1
cp "$TEST_DIR/nginx.conf" . # beside what it includes
# By its path, as it starts itself anew without looking for one; and as a daemon, as only that obeys USR2.
"$(command -v nginx)" -p "$PWD" -c "$PWD/nginx.conf"
wait_for 30 "nginx's pid file" test -s nginx.pid # written after the program that was started has gone into the background
old=$(cat nginx.pid)

await upgrade 300
step "USR2: a new master beside the old one, by its sockets"
generation 2
kill -USR2 "$old"
wait_for 30 "new master" is_new_master
new=$(cat nginx.pid)
check "the old master" "$old" "$(cat nginx.pid.oldbin)"
# The new workers are there when one of them has answered: the client says so.
publish upgraded
await seen_new 60
step "WINCH: the old master's workers end, but for the download that is under way"
kill -WINCH "$old"
await only_new 60
step "back: HUP to the old master starts its workers again, by the configuration as it was; QUIT ends the new master"
kill -HUP "$old"
await seen_old 60
kill -QUIT "$new"
wait_for 60 "end of the new master" not_running "$new"
publish back
await only_old 60
step "and again, for good"
generation 3
kill -USR2 "$old"
wait_for 30 "new master" is_new_master
new=$(cat nginx.pid)
kill -QUIT "$old"
publish upgraded_again
wait_for 60 "end of the old master" not_running "$old"
serve_until_done "$new"
cat error.log
if grep -E '\[(emerg|alert|crit|error)\]|exited on signal' error.log; then fail "trouble in nginx's error log"; fi
