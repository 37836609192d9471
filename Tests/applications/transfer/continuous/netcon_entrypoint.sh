#!/usr/bin/env bash
. "$LIB"
. "$APP_DIR/transfer.sh"

seconds=${TRANSFER_SECONDS:-$(size 3 60)}
listen_streams server 1 "${seconds}s"
publish listening
wait "$listener"

await monitor_listens >/dev/null
connect_streams client 1 "$(size 1 10)s" "$PEER6"
