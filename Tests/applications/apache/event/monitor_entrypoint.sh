#!/usr/bin/env bash
. "$LIB"
. "$APP_DIR/client.sh"

random_file upstream 10M
python3 -m http.server --bind :: 8000 &
upstream=$!
wait_port "$ADDR" 8000
wait_port "$PEER" 443
ca=(--cacert "$EXCHANGE/server.pem")
transfers "https://$PEER" "https://[$PEER6]" "${ca[@]}" --http1.1
step "HTTP/2: 10 MB down and up"
check "protocol" "2 200" "$(fetch "${ca[@]}" --http2 --output big2 --write-out '%{http_version} %{http_code}' "https://$PEER/big")"
check "md5 by HTTP/2" "$(md5 big)" "$(md5 big2)"
check "md5 the program got by HTTP/2" "$(md5 big)" "$(fetch "${ca[@]}" --http2 --data-binary @big "https://$PEER/cgi-bin/md5")"

step "as a reverse proxy: its client side"
fetch --output proxied "http://$PEER/upstream/upstream"
check "md5 through the proxy" "$(md5 upstream)" "$(md5 proxied)"
fetch "${ca[@]}" --output proxied6 "https://[$PEER6]/upstream6/upstream"
check "md5 through the proxy by IPv6 and TLS" "$(md5 upstream)" "$(md5 proxied6)"

step "load by HTTP/2"
requests=$(size 3000 50000)
h2load -c 8 -m 16 -n "$requests" "https://$PEER/small" >h2load.txt
cat h2load.txt
check "requests" "$requests succeeded, 0 failed" "$(sed -n 's/^requests:.* \([0-9]* succeeded, [0-9]* failed\),.*/\1/p' h2load.txt)"
note "$(sed -n 's/^finished in .*, \([0-9]*\)[.0-9]* req.*/\1/p' h2load.txt) requests/s by HTTP/2 over TLS"
load_and_restarts
stop "$upstream"
