#!/usr/bin/env bash
. "$LIB"
. "$APP_DIR/common.sh"

make_files
nginx -p "$PWD" -c "$APP_DIR/nginx.conf" &
server=$!
serve_until_done "$server"
