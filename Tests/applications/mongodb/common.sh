# Sourced after $LIB: what MongoDB's tests share.

# start_server: mongod where one is installed, else what stands in for it; its pid is in $server then.
start_server() {
  if command -v mongod >/dev/null; then
    mkdir data
    mongod --dbpath data --bind_ip_all --ipv6 --port 27017 --nounixsocket >mongod.log &
    note "a real mongod"
  else
    python3 "$APP_DIR/mongo_server.py" 27017 2>mongod.log &
    note "no mongod is installed (Debian has none): a wire-protocol server of the tests' own stands in for it"
  fi
  server=$!
  wait_port "$ADDR" 27017
}

# end_server: at the other side's end; it must have had nothing to complain of.
end_server() {
  serve_until_done "$server"
  if grep -E 'Traceback|Error|"s":"[EF]"' mongod.log; then fail "complaints of the server: $(tail -n 1 mongod.log)"; fi
}

# exercise ADDRESS ADDRESS6: thousands of documents, each with its hash.
exercise() {
  python3 "$APP_DIR/mongo_check.py" "$1" "$(size 4 8)" "$(size 500 5000)" | tee check.txt
  python3 "$APP_DIR/mongo_check.py" "$2" 2 "$(size 200 2000)"
  note "$(cat check.txt)"
}
