#!/usr/bin/env bash
. "$LIB"
. "$APP_DIR/common.sh"

make_files
# In a session of its own: its end is a TERM to its whole process group.
setsid apache2 -d "$PWD" -f "$TEST_DIR/apache.conf" -D FOREGROUND &
server=$!
serve_until_done "$server"
