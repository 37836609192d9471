#!/usr/bin/env bash
. "$LIB"

openssl req -x509 -newkey rsa:2048 -nodes -keyout server.key -out server.pem -days 30 -subj /CN=netcond-test \
  -addext "subjectAltName=DNS:web.example.test,DNS:other.example.test" 2>/dev/null
cp server.pem "$EXCHANGE"
mkdir -p served/many served/upload
random_file served/big "$(size 10M 100M)"
for ((number = 1; number <= $(size 40 200); number++)); do random_file "served/many/$number" "$((number * 1009 % 90000))"; done
(cd served/many && md5sum * | LC_ALL=C sort -k 2) >"$EXCHANGE/many"

python3 "$TEST_DIR/sum.py" &
summer=$!
# It looks for the certificate where its configuration stands.
cp "$TEST_DIR/nginx.conf" .
nginx -p "$PWD" -c "$PWD/nginx.conf" &
nginx=$!
dnsmasq --keep-in-foreground --no-resolv --no-hosts --user=root --bind-interfaces --listen-address="$ADDR" --pid-file \
  --log-facility=- --local=/test/ --host-record="web.example.test,$ADDR,$ADDR6" &
names=$!
wait_port 127.0.0.1 8000
wait_port "$ADDR6" 443
wait_port "$ADDR" 53
publish serving "$(md5 served/big)"

for upload in http1.1 http2 unknown; do
  check "md5 of upload '$upload'" "$(await "uploaded-$upload" 200)" "$(md5 "served/upload/$upload")"
done
serve_until_done "$nginx" "$names" "$summer"
check "requests by HTTP/2 and HTTP/1.1 in nginx's log" "HTTP/1.1 HTTP/2.0" "$(grep -o 'HTTP/[0-9.]*' access.log | sort -u | xargs)"
if grep -E '\[(error|crit|alert|emerg)\]' error.log | grep -v '/absent"'; then fail "complaints of nginx"; fi
