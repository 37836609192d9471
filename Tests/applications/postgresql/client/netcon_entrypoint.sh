#!/usr/bin/env bash
. "$LIB"
. "$APP_DIR/common.sh"
. "$APP_DIR/exercise.sh"

await serving >/dev/null
exercise "$PEER" "$PEER6"

step "pg_dump"
pg_dump --host="$PEER6" --table=lines --data-only postgres >dump.sql
check "md5 of the dumped lines" "$(md5 lines)" "$(sed -n '/^COPY/,/^\\\./p' dump.sql | sed '1d;$d' | cut -f 2 | md5)"
