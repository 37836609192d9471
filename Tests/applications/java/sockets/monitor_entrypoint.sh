#!/usr/bin/env bash
. "$LIB"
. "${LIB%/*}/peer.sh"

peer_serve
drive 7000 "$(size 300 3000)"
drive 7010 "$(size 300 3000)"
drive_udp 7000
drive_udp 7010
peer_end
