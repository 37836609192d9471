#!/usr/bin/env bash
. "$LIB"
. "$APP_DIR/common.sh"
. "$APP_DIR/exercise.sh"

await serving >/dev/null
exercise "$PEER" "$PEER6"
publish exercised
await restarted >/dev/null
sql "$PEER" "SELECT line FROM lines_of_text ORDER BY n" --quick >read
check "md5 of the lines after the restart" "$(md5 lines)" "$(md5 read)"
