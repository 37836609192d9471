#!/usr/bin/env bash
. "$LIB"
. "${LIB%/*}/peer.sh"

javac -Xlint:all -d classes "$TEST_DIR"/*.java
authority
openssl pkcs12 -export -in server.pem -inkey server.key -passout pass:secret -out server.p12
cp ca.pem "$EXCHANGE/server_ca.pem"
