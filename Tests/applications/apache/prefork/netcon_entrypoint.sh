#!/usr/bin/env bash
. "$LIB"
. "$APP_DIR/server.sh"

start_apache -D FOREGROUND -D prefork -D two_sockets
restart_as_told
end_apache
