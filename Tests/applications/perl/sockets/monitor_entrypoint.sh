#!/usr/bin/env bash
. "$LIB"
. "${LIB%/*}/peer.sh"

peer_serve
peer_serve_http
await serving
drive 7000 "$(size 200 1000)"
drive_udp 7000
peer_end
