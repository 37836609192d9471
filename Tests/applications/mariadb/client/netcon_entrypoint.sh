#!/usr/bin/env bash
. "$LIB"
. "$APP_DIR/common.sh"
. "$APP_DIR/exercise.sh"

await serving >/dev/null
exercise "$PEER" "$PEER6"
