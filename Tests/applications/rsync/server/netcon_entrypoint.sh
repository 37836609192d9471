#!/usr/bin/env bash
. "$LIB"
. "$APP_DIR/common.sh"

serve_rsync
