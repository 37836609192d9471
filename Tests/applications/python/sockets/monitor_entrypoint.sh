#!/usr/bin/env bash
. "$LIB"
. "${LIB%/*}/peer.sh"

peer_serve
drive 7000 "$(size 300 3000)"
drive 7010 "$(size 200 2000)"
drive 7020 "$(size 100 500)"
drive 7030 "$(size 300 3000)"
drive 7040 "$(size 200 2000)"
drive_udp 7000 1 # asyncio sends no empty datagrams
drive_udp 7010
drive_udp 7020
drive_udp 7030
peer_end
