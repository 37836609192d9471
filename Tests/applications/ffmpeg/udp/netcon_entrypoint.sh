#!/usr/bin/env bash
. "$LIB"
. "$APP_DIR/media.sh"

film film.ts 320x240
exchange film.ts
compare
