#!/usr/bin/env bash
. "$LIB"
. "$APP_DIR/server.sh"

start_apache -D FOREGROUND -D worker
restart_as_told
end_apache
