#!/usr/bin/env bash
. "$LIB"
. "$APP_DIR/common.sh"

await serving 300
begin=$(date +%s%N)
fetch_all "http://$PEER"
fetch_all "http://[$PEER6]"
note "$((2 * $(number) * 1000000000 / ($(date +%s%N) - begin))) files/s"
