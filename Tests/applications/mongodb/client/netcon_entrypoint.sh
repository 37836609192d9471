#!/usr/bin/env bash
. "$LIB"
. "$APP_DIR/common.sh"

await serving >/dev/null
exercise "$PEER" "$PEER6"
