#!/usr/bin/env bash
. "$LIB"
. "$APP_DIR/client.sh"

wait_port "$PEER" 80
transfers "http://$PEER" "http://[$PEER6]"
uploads 20
keepalive_load 16
load_and_restarts
