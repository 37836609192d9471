#!/usr/bin/env bash
. "$LIB"
. "$APP_DIR/transfer.sh"
. "$APP_DIR/lossy.sh"

for loss in 0 1 5 10; do container_lossy "filter$loss" "$loss"; done
