#!/usr/bin/env bash
. "$LIB"
. "${LIB%/*}/peer.sh"

authority # for both sides
cp ca.pem server.pem server.key "$EXCHANGE/"
