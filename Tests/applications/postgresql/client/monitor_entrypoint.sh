#!/usr/bin/env bash
. "$LIB"
. "$APP_DIR/common.sh"

new_cluster data
start_postgres data "$ADDR" 5432
publish serving
serve_until_done "$postgres"
if grep -E 'PANIC|could not|unexpected EOF' data.log; then fail "complaints in the server's log"; fi
