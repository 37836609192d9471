#!/usr/bin/env bash
. "$LIB"
. "$APP_DIR/server.sh"

self_signed server
install -m 644 server.pem "$EXCHANGE/server.pem"
start_apache -D FOREGROUND -D event -D tls -D http2 -D proxy
restart_as_told
end_apache
