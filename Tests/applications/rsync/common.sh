# Sourced after $LIB: what rsync's tests share, whichever side is in the container. The server has sshd and rsync's own daemon.
. "${LIB%/*}/ssh.sh"

serve_rsync() {
  start_sshd
  mkdir /tmp/module /tmp/module6
  cat >rsyncd.conf <<END
use chroot = no
uid = 0
gid = 0
read only = no
reverse lookup = no
log file = $PWD/rsyncd.log
[module]
  path = /tmp/module
[module6]
  path = /tmp/module6
END
  rsync --daemon --no-detach --config="$PWD/rsyncd.conf" &
  daemon=$!
  # Not wait_port: who connects and says nothing is an error for the daemon.
  wait_for 30 "rsync's daemon" rsync "rsync://[$ADDR6]/"
  publish serving
  serve_until_done "$sshd" "$daemon"
  check_sshd_log
  if grep -iE 'error|failed|refused|denied' rsyncd.log; then fail "complaints of rsync's daemon"; fi
}

use_rsync() {
  await serving >/dev/null
  use_ssh
  step "over ssh"
  synchronize "$(size 500 5000)" peer:/tmp/copy/ --compress
  step "the daemon, IPv4 and IPv6"
  synchronize "$(size 200 5000)" "rsync://$PEER/module/"
  synchronize "$(size 50 500)" "rsync://[$PEER6]/module6/"
}

# grow FOLDER FILES: a tree of small files, with a large one, names that are awkward, and links.
grow() {
  python3 - "$@" <<'END'
import os, random, sys
top, count = sys.argv[1], int(sys.argv[2])
for number in range(count):
    folder = f"{top}/{number % 7}/{number % 13}"
    os.makedirs(folder, exist_ok=True)
    with open(f"{folder}/file {number} – ü", "wb") as file:
        file.write(os.urandom(int(random.expovariate(1 / 4000))))
os.mkdir(f"{top}/empty")
os.symlink("0/0", f"{top}/symbolic link")
os.link(f"{top}/0/0/file 0 – ü", f"{top}/hard link")
END
  random_file "$1/large" "$(size 8M 100M)"
}

# What a tree is: names, kinds, permissions, links, times (rsync sets them anew only where the second differs), contents.
portrait() {
  (cd "$1" && find . -printf '%P %y %m %n %s %l %T@\n' | sed 's/^\(.* d [0-9]* \)[0-9]* [0-9]* /\1/; s/\.[0-9]*$//' | LC_ALL=C sort &&
    find . -type f -print0 | LC_ALL=C sort -z | xargs -0 md5sum)
}

# synchronize FILES TARGET OPTION…: there, nothing to do, what has changed only, and back again.
synchronize() {
  local files=$1 target=$2
  shift 2
  rm -rf tree back
  grow tree "$files"
  rsync --archive --hard-links "$@" tree/ "$target"
  check "what a second run does" "" "$(rsync --archive --hard-links --itemize-changes "$@" tree/ "$target")"
  printf 'one line more\n' >>tree/large
  printf 'new\n' >tree/added
  rm "tree/1/1/file 1 – ü"
  rsync --archive --hard-links --itemize-changes --delete --stats "$@" tree/ "$target" >changes
  check "files sent and removed" "2 1" "$(grep -c '^<f' changes) $(grep -c '^\*deleting' changes)"
  # Of the large file, only the block that has changed.
  if (($(sed -n 's/^Literal data: \([0-9,]*\) bytes/\1/p' changes | tr -d ,) > 200000)); then
    cat changes
    fail "more was sent than what had changed"
  fi
  check "what differs by checksum" "" "$(rsync --archive --hard-links --checksum --dry-run --itemize-changes --delete "$@" tree/ "$target")"
  rsync --archive --hard-links "$@" "$target" back/
  portrait tree >there
  portrait back >here
  diff there here || fail "the tree is not the same, there and back"
  check "the tree, there and back" "$(md5 there)" "$(md5 here)"
}
