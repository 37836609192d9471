# The server's side of Apache's tests, sourced behind $LIB.

# start_apache OPTION…: with apache.conf; sets $apache, the main process.
start_apache() {
  mkdir served run
  random_file served/big 10M
  random_file served/small 1K
  bigfile_tx served/big
  generation 1
  : >error.log
  tail --follow error.log & # what a failed test shows of it
  tail=$!
  # In a session of its own: its end is a TERM to its whole process group.
  TEST_CGI=$APP_DIR/cgi-bin setsid apache2 -d "$PWD" -f "$APP_DIR/apache.conf" "$@" &
  apache=$!
}

# The number of the configuration, in each answer, so that the client sees which one serves.
generation() { printf 'Header always set X-Generation %s\n' "$1" >generation.conf; }

# Graceful restarts, when the client asks for them.
restart_as_told() {
  local number
  for ((number = 2; number <= $(restarts) + 1; number++)); do
    await "restart.$number" 300
    step "graceful restart $number"
    generation "$number"
    kill -USR1 "$apache"
  done
}

restarts() { size 1 5; }

# end_apache: until the client is content; then the log must tell of no trouble.
end_apache() {
  serve_until_done "$apache"
  stop "$tail"
  # AH00045 is a worker that needed a second TERM: under load that can be.
  if grep -E ':(emerg|alert|crit|error)\]|exit signal|AH00052|AH00046' error.log; then fail "trouble in Apache's error log"; fi
}
