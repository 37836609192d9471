#!/usr/bin/env bash
. "$LIB"
. "$APP_DIR/common.sh"

kernel_side measure_tcp
