#!/usr/bin/env bash
. "$LIB"
. "$APP_DIR/files.sh"

use_files
