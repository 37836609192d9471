#!/usr/bin/env bash
. "$LIB"

random_file big 10M
python3 -m http.server --bind :: 8000 &
server=$!
wait_port "$ADDR" 8000
bigfile_tx big
publish serving
serve_until_done "$server"
