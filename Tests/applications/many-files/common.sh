# Both sides of the tests with many files, sourced behind $LIB.

number() { size 300 10000; }

# make_files: $PWD/served, and its sums where the other side finds them.
make_files() {
  note "$(number) files, $(python3 -B "$APP_DIR/make_files.py" served "$(number)") bytes"
  cp served.paths served.md5 "$EXCHANGE"
  publish files
}

# fetch_all BASE OPTION-OF-CURL…: all files, 32 at once by one curl, into $PWD/fetched; each of them must be the server's.
fetch_all() {
  local base=$1
  shift
  rm -rf fetched
  sed "s,.*,url=\"$base/&\"\noutput=\"fetched/&\"," "$EXCHANGE/served.paths" >curl.config
  curl --fail --silent --show-error --no-progress-meter --create-dirs --parallel --parallel-max 32 "$@" --config curl.config
  (cd fetched && md5sum --quiet --check "$EXCHANGE/served.md5") || fail "files differ"
  check "files fetched from $base" "$(number)" "$(find fetched -type f | wc -l)"
}

# load_all BASE: h2load asks for them in turn meanwhile.
load_all() {
  local requests=$(($(number) * $(size 10 5)))
  sed "s,^,$1/," "$EXCHANGE/served.paths" >urls
  h2load -i urls -c 16 "${@:2}" -n "$requests" >h2load.txt
  cat h2load.txt
  check "requests" "$requests succeeded, 0 failed" "$(sed -n 's/^requests:.* \([0-9]* succeeded, [0-9]* failed\),.*/\1/p' h2load.txt)"
  note "$(sed -n 's/^finished in .*, \([0-9]*\)[.0-9]* req.*/\1/p' h2load.txt) files/s"
}
