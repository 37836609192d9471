#!/usr/bin/env bash
. "$LIB"

self_signed server
cp server.pem "$EXCHANGE"
mkdir served
: >served/robots.txt # wget asks for it first
python3 "$TEST_DIR/make_site.py" served/site "$(size 50 250)"
random_file served/big "$(size 10M 100M)"
# It looks for the certificate where its configuration stands.
cp "$TEST_DIR/nginx.conf" .
nginx -p "$PWD" -c "$PWD/nginx.conf" &
nginx=$!
wait_port "$ADDR6" 443
sums() { (cd served/site && find . -type f | LC_ALL=C sort | xargs md5sum | md5); }
publish site "$(sums)"
publish big "$(md5 served/big)"

await mirrored 200 >/dev/null
random_file served/site/part3/file3.bin 30000
publish changed "$(sums)"
serve_until_done "$nginx"
check "partial answers" 2 "$(grep -c '" 206 ' access.log)"
check "mirror's requests that were answered with the file once more" 1 \
  "$(grep -A 100000 'GET /renewed' access.log | grep -c 'GET /site.*" 200 ')"
check "nginx's complaints, but for the file that is not there" "" "$(sed '/served\/renewed" failed/d' error.log)"
