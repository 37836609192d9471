#!/usr/bin/env bash
. "$LIB"
. "$APP_DIR/server.sh"

start_apache -X -D prefork
end_apache
