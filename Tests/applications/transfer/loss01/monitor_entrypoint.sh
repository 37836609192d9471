#!/usr/bin/env bash
. "$LIB"
. "$APP_DIR/transfer.sh"
. "$APP_DIR/lossy.sh"

monitor_lossy wire 1
