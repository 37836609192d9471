#!/usr/bin/env bash
. "$LIB"
. "${LIB%/*}/peer.sh"

peer_serve
peer_serve_http
drive 7000 "$(size 200 2000)"
drive 7010 "$(size 200 400)" # select(2) knows descriptors below 1024
drive_udp 7000
peer_end
