#!/usr/bin/env bash
. "$LIB"
. "$APP_DIR/transfer.sh"

build streams
