#!/usr/bin/env bash
. "$LIB"
. "$APP_DIR/common.sh"

use_rsync
