#!/usr/bin/env bash
. "$LIB"
. "$APP_DIR/common.sh"
new_data
