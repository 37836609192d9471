#!/usr/bin/env bash
. "$LIB"
. "$APP_DIR/media.sh"

film film.ts 352x288
exchange film.ts
compare
