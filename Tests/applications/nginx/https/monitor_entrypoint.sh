#!/usr/bin/env bash
. "$LIB"

fetch() { curl --fail --silent --show-error --cacert "$EXCHANGE/server.pem" "$@"; }

wait_port "$PEER" 443
step "10 MB by HTTP/1.1 and IPv4, by HTTP/2 and IPv6"
fetch --http1.1 --output big "https://$PEER/big"
bigfile_rx big
check "protocol" 2 "$(fetch --http2 --output big2 --write-out '%{http_version}' "https://[$PEER6]/big")"
check "md5 by HTTP/2" "$(md5 big)" "$(md5 big2)"

step "ranges"
fetch --range 1000000-1999999 --output middle "https://$PEER/big"
check "md5 of a range" "$(tail -c +1000001 big | head -c 1000000 | md5sum)" "$(md5sum <middle)"
fetch --range -5000 --output end "https://$PEER/big"
check "md5 of the last bytes" "$(tail -c 5000 big | md5sum)" "$(md5sum <end)"
head -c 3000000 big >part
fetch --continue-at - --output part "https://$PEER/big"
check "md5 of a resumed download" "$(md5 big)" "$(md5 part)"
check "status of several ranges" 206 "$(fetch --range 0-9,100-109 --output parts --write-out '%{http_code}' "https://$PEER/big")"
check "status of a range behind the end" 416 "$(curl --silent --cacert "$EXCHANGE/server.pem" --range 99999999- --output none --write-out '%{http_code}' "https://$PEER/big")"

step "20 files up at once, by HTTP/2 and HTTP/1.1"
mkdir up
for ((number = 1; number <= 20; number++)); do random_file "up/$number" $((number * number * $(size 2500 25000))); done
# A process for each by HTTP/2: several uploads by one connection make curl 7.88 spin at times, with nginx's window updates
# unread in its (kernel's) socket.
uploads=()
for ((number = 1; number <= 10; number++)); do
  fetch --http2 --upload-file "up/$number" "https://$PEER/up/" &
  uploads+=($!)
done
fetch --http1.1 --parallel --upload-file 'up/{11,12,13,14,15,16,17,18,19,20}' "https://[$PEER6]/up/"
for upload in "${uploads[@]}"; do wait "$upload" || fail "an upload failed"; done
publish uploads
check "md5 sums of the uploads" "$(cd up && md5sum -- * | sort -k 2)" "$(await uploaded_md5)"

step "load by HTTP/2"
requests=$(size 5000 200000)
h2load -c 16 -m 16 -n "$requests" "https://$PEER/small" >h2load.txt
cat h2load.txt
check "requests" "$requests succeeded, 0 failed" "$(sed -n 's/^requests:.* \([0-9]* succeeded, [0-9]* failed\),.*/\1/p' h2load.txt)"
note "$(sed -n 's/^finished in .*, \([0-9]*\)[.0-9]* req.*/\1/p' h2load.txt) requests/s by HTTP/2 over TLS"

step "the log"
publish reopen
await reopened
fetch --output /dev/null "https://$PEER/small?after-reopen"
publish after_reopen
