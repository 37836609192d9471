# Sourced after $LIB: what git's tests share, whichever side is in the container. The server has sshd, git's own daemon, and
# git's http-backend behind nginx.
. "${LIB%/*}/ssh.sh"

serve_git() {
  local way
  for way in ssh git http; do
    git init --quiet --bare --initial-branch=main "/tmp/repositories/$way"
    git -C "/tmp/repositories/$way" config http.receivepack true
  done
  start_sshd
  git daemon --reuseaddr --export-all --enable=receive-pack --base-path=/tmp/repositories --verbose 2>daemon.log &
  daemon=$!
  fcgiwrap -c 2 -s "unix:$PWD/fcgiwrap.socket" &
  wrap=$!
  wait_for 20 "fcgiwrap's socket" test -S fcgiwrap.socket
  nginx -p "$PWD" -c "$APP_DIR/nginx.conf" &
  nginx=$!
  wait_port "$ADDR" 80
  # Not wait_port: who connects and says nothing is an error for the daemon.
  wait_for 20 "answer of git daemon" git ls-remote "git://[$ADDR6]/git"
  publish serving
  serve_until_done "$sshd" "$nginx" "$wrap" "$daemon"
  check_sshd_log
  if grep -iE 'error|fatal|refused' daemon.log; then fail "complaints of git daemon"; fi
  for way in ssh git http; do git -C "/tmp/repositories/$way" fsck --full --strict --no-progress; done
}

use_git() {
  await serving >/dev/null
  use_ssh
  git config --global user.name "A User"
  git config --global user.email user@example.org
  git config --global init.defaultBranch main
  make_history origin "$(size 20 300)"
  exchange ssh ssh://peer/tmp/repositories/ssh
  exchange git "git://[$PEER6]/git"
  exchange http "http://$PEER/http"
}

# make_history FOLDER COMMITS: many small ones, and a large file.
make_history() {
  git init --quiet "$1"
  random_file "$1/large" "$(size 4M 60M)"
  for ((number = 1; number <= $2; number++)); do
    seq "$number" "$((number + 500))" >"$1/file$((number % 10))"
    git -C "$1" add --all
    git -C "$1" commit --quiet --message "Commit $number"
  done
  git -C "$1" tag --annotate --message "A tag" v1
}

head_of() { git -C "$1" rev-parse "${2:-HEAD}"; }

# exchange NAME URL: push, clone, a commit of the clone's pushed and fetched, a shallow clone, a branch removed.
exchange() {
  local name=$1 url=$2
  step "$name"
  git -C origin push --quiet --follow-tags "$url" main
  git clone --quiet "$url" "clone.$name"
  git -C "clone.$name" fsck --full --strict --no-progress
  check "$name: the clone's head" "$(head_of origin)" "$(head_of "clone.$name")"
  check "$name: the clone's tag" "$(head_of origin v1)" "$(head_of "clone.$name" v1)"
  check "$name: md5 of the large file" "$(md5 origin/large)" "$(md5 "clone.$name/large")"

  random_file "clone.$name/another" 2M
  git -C "clone.$name" add another
  git -C "clone.$name" commit --quiet --message "From the clone, by $name"
  git -C "clone.$name" push --quiet origin main main:refs/heads/topic
  git -C origin fetch --quiet "$url" main
  check "$name: what is fetched" "$(head_of "clone.$name")" "$(head_of origin FETCH_HEAD)"
  check "$name: md5 of its file" "$(md5 "clone.$name/another")" "$(git -C origin show FETCH_HEAD:another | md5)"
  git clone --quiet --depth 1 "$url" "shallow.$name"
  check "$name: commits of a shallow clone" 1 "$(git -C "shallow.$name" rev-list --count HEAD)"
  git -C "clone.$name" push --quiet origin --delete topic
  check "$name: branches left" refs/heads/main "$(git ls-remote --heads "$url" | cut -f 2)"
}
