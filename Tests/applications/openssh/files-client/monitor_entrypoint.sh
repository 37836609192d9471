#!/usr/bin/env bash
. "$LIB"
. "$APP_DIR/files.sh"

serve_files
