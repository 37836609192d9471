#!/usr/bin/env bash
. "$LIB"

await serving
step "10 MB, IPv4 and IPv6"
curl --fail --silent --show-error --output big "http://$PEER:8000/big"
bigfile_rx big
curl --fail --silent --show-error --output big6 "http://[$PEER6]:8000/big"
check "md5 by IPv6" "$(md5 big)" "$(md5 big6)"

step "20 at once"
curl --fail --silent --show-error --parallel --parallel-max 20 --output 'copy#1' "http://$PEER:8000/big?[1-20]"
check "distinct md5 sums of the copies" "$(md5 big)" "$(md5 copy* | sort -u)"
