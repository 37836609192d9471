#!/usr/bin/env bash
. "$LIB"
. "$APP_DIR/common.sh"

container_side measure_tcp
