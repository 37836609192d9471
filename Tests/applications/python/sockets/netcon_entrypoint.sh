#!/usr/bin/env bash
. "$LIB"
. "${LIB%/*}/peer.sh"

step "servers"
servers=()
serve() {
  python3 "$TEST_DIR/$1.py" "${@:2}" >"$1-${2}.out" 2>"$1-${2}.err" &
  servers+=($!)
}
serve asyncio_server 7000
serve socketserver_server threading 7010
serve socketserver_server forking 7020
serve epoll_server 7030
serve workers_server 7040

step "clients"
await peer_serves
python3 "$TEST_DIR/client.py" "$(size 300 3000)"
# asyncio as a client: what drives the servers on the other side.
python3 "${LIB%/*}/peer.py" drive 7000 "$TRANSFER_BYTES" "$(size 300 3000)" "$PEER" "$PEER6"
python3 "${LIB%/*}/peer.py" drive-udp 7000 0 "$PEER" "$PEER6"
publish client_done

serve_until_done "${servers[@]}"
tail -n 1 workers_server-7040.out
check "the servers' complaints" "" "$(cat ./*.err)"
