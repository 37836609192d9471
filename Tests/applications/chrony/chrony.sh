# Sourced by both sides: chronyd with a configuration of a few lines, which never touches the machine's clock (-x, -Q).

# start_chronyd LINE…: a server in the background; its pid in $chronyd.
start_chronyd() {
  mkdir -p run
  printf '%s\n' "pidfile $PWD/run/chronyd.pid" "bindcmdaddress /" "bindcmdaddress 0.0.0.0" "bindcmdaddress ::" "driftfile $PWD/run/drift" "keyfile $PWD/keys" 'cmdport 323' \
    'allow' 'allow ::/0' 'cmdallow' 'cmdallow ::/0' "$@" >chrony.conf
  printf '1 SHA256 HEX:%064d\n' 7 >keys
  chronyd -x -d -u root -f "$PWD/chrony.conf" >chronyd.log 2>&1 &
  chronyd=$!
}

# ask_once SERVER…: one query that sets nothing; the offset in seconds on stdout. The two sides share one clock.
ask_once() {
  local lines=()
  for server in "$@"; do lines+=("server $server iburst maxsamples 1"); done
  chronyd -Q -t 20 -u root "pidfile $PWD/once.pid" "keyfile $PWD/keys" "${lines[@]}" >once.log 2>&1 || fail "chronyd -Q: $(tail -2 once.log)"
  sed -n 's/.*System clock wrong by \(-\?[0-9.]*\) seconds.*/\1/p' once.log
}

# is_small OFFSET: under 0.1 s: a sample is off by up to half of the time that its answer took on a loaded machine.
is_small() { awk -v offset="$1" 'BEGIN { exit !(offset != "" && offset < 0.1 && offset > -0.1) }'; }
