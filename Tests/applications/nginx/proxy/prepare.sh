#!/usr/bin/env bash
. "$LIB"

self_signed upstream
mv upstream.key upstream.pem "$EXCHANGE"
