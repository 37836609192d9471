#!/usr/bin/env bash
. "$LIB"
. "$APP_DIR/transfer.sh"
. "$APP_DIR/lossy.sh"

container_lossy wire 5
