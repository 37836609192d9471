#!/usr/bin/env bash
. "$LIB"
. "$APP_DIR/zones.sh"

zone nc.test "$(size 5000 50000)" >nc.zone
named_options "allow-transfer { any; }; also-notify { $PEER; }; provide-ixfr no;"
printf 'zone "nc.test" { type primary; file "nc.zone"; };\n' >>named.conf
named -g -c "$PWD/named.conf" >named.log 2>&1 &
primary=$!
wait_zone "$ADDR" nc.test
publish primary

serial() { dig +short +tries=2 "@$1" SOA nc.test | cut -d ' ' -f 3; }
has_serial() { [[ $(serial "$PEER") == "$1" ]]; }
same_zone() {
  sorted_transfer "$ADDR" nc.test >ours.txt
  for server in "$PEER" "$PEER6"; do
    sorted_transfer "$server" nc.test >theirs.txt
    check "records at $server" "$(grep -c . nc.zone) - 1" "$(($(grep -c . theirs.txt) + 1)) - 1"
    check "md5 of the zone at $server" "$(md5 ours.txt)" "$(md5 theirs.txt)"
  done
}

await secondary >/dev/null
step "the first transfer"
wait_for 60 "zone at the secondary" has_serial 1
same_zone
step "a change, told by NOTIFY"
sed -i 's/hostmaster 1 /hostmaster 2 /; s/^plain A .*/plain A 192.0.2.2/' nc.zone
kill -HUP "$primary"
wait_for 60 "serial 2 at the secondary" has_serial 2
check "the new address" 192.0.2.2 "$(dig +short "@$PEER" A plain.nc.test)"
same_zone
stop "$primary"
