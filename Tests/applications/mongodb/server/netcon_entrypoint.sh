#!/usr/bin/env bash
. "$LIB"
. "$APP_DIR/common.sh"

start_server
publish serving
end_server
