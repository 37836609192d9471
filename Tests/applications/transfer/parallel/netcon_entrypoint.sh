#!/usr/bin/env bash
. "$LIB"
. "$APP_DIR/transfer.sh"

listen_streams server 256 "$(size 1 30)s"
publish listening
wait "$listener"

await monitor_listens >/dev/null
connect_streams client 256 "$(size 1 30)s" "$PEER6"
