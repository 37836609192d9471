#!/usr/bin/env bash
. "$LIB"

expected=$(await serving)
# On the kernel's stack the C library asks whom resolv.conf names; on a virtual network, the network's name server.
if [[ -n ${NATIVE:-} ]]; then printf 'nameserver %s\n' "$PEER" >/etc/resolv.conf; fi
web=https://web.example.test
get() { curl --fail --silent --show-error --cacert "$EXCHANGE/server.pem" "$@"; }
# said OPTION…: what curl makes of a request beside its body.
said() { get --output body --write-out '%{http_version} %{remote_ip} %{response_code}' "$@"; }
status_of() { local status=0; "$@" >/dev/null 2>&1 || status=$?; printf '%s\n' "$status"; }

step "a big file by each version and address"
for way in "1.1 $PEER --ipv4" "1.1 $PEER6 --ipv6" "2 $PEER --ipv4" "2 $PEER6 --ipv6"; do
  read -r version address family <<<"$way"
  check "HTTP/$version $family" "$version $address 200" "$(said "--http$version" "$family" "$web/big")"
  check "its md5" "$expected" "$(md5 body)"
done

step "many files at once"
count=$(size 40 200)
for version in 1.1 2; do
  mkdir "many$version"
  get "--http$version" --parallel --parallel-max 30 --output "many$version/#1" "$web/many/[1-$count]"
  check "md5 sums by HTTP/$version" "$(md5 "$EXCHANGE/many")" "$(cd "many$version" && md5sum * | LC_ALL=C sort -k 2 | md5)"
done
# All on one connection, one after the other.
check "new connections of 20 requests: of 19 none, of the first 1" "19 0 1 1" "$(get --output '/dev/null' --write-out '%{num_connects}\n' "$web/many/[1-20]" | sort | uniq -c | xargs)"

step "uploads"
random_file mine "$(size 10M 100M)"
for version in 1.1 2; do
  get "--http$version" --upload-file mine "$web/upload/http$version"
  publish "uploaded-http$version" "$(md5 mine)"
  check "md5 of a POST by HTTP/$version" "$(md5 mine)" "$(get "--http$version" --data-binary @mine "$web/sum")"
done
get --http1.1 --upload-file - "$web/upload/unknown" < <(cat mine)
publish uploaded-unknown "$(md5 mine)"

step "parts"
get --range 1000000-1999999 --output part "$web/big"
check "md5 of a range" "$(tail -c +1000001 body | head -c 1000000 | md5)" "$(md5 part)"
head -c 3M body >resumed
check "resumption" "2 $PEER6 206" "$(get --ipv6 --continue-at - --output resumed --write-out '%{http_version} %{remote_ip} %{response_code}' "$web/big")"
check "its md5" "$expected" "$(md5 resumed)"

step "names and refusals"
check "--resolve" "2 $PEER 200" "$(said --resolve "other.example.test:443:$PEER" https://other.example.test/big)"
check "a name that is not there" 6 "$(status_of get https://absent.example.test/)"
check "a certificate for other names" 60 "$(status_of get "https://$PEER/big")"
check "a file that is not there" 22 "$(status_of get "$web/absent")"
check "a closed port" 7 "$(status_of get https://web.example.test:444/)"
check "a time limit" 28 "$(status_of get --max-time 0.5 --limit-rate 100k "$web/big")"
