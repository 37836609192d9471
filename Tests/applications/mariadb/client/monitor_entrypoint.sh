#!/usr/bin/env bash
. "$LIB"
. "$APP_DIR/common.sh"

new_data
start_mariadb
publish serving
serve_until_done "$mariadb"
no_complaints
