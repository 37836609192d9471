#!/usr/bin/env bash
. "$LIB"
. "$APP_DIR/zones.sh"

axfr=$(await axfr)
for server in "$PEER" "$PEER6"; do
  step "dig and host, $server"
  for way in +notcp +tcp; do
    check "A $way" 192.0.2.1 "$(dig +short +tries=2 +timeout=10 $way "@$server" A plain.nc.test)"
    check "AAAA $way" 2001:db8::1 "$(dig +short +tries=2 +timeout=10 $way "@$server" AAAA plain.nc.test)"
  done
  dig "@$server" TXT long.nc.test >whole.txt
  check "dig asked again by TCP" yes "$(grep -q 'Truncated, retrying in TCP' whole.txt && echo yes || cat whole.txt)"
  check "texts" 60 "$(grep -c '^long\.nc\.test\..*TXT' whole.txt)"
  check "AXFR" "$axfr" "$(sorted_transfer "$server" nc.test | md5sum)"
  check "host" "plain.nc.test has address 192.0.2.1" "$(host -t A plain.nc.test "$server" | grep has)"
done

step "many at once, in one dig"
seq -f 'host%g.nc.test A' 1 500 >questions
dig +short +tries=2 +timeout=10 "@$PEER" -f questions >answers
check "answers" 500 "$(grep -c '^10\.' answers)"

# Natively, names are asked of the servers in /etc/resolv.conf: the container's file is empty, and is filled here for that.
if [[ -n ${NATIVE:-} ]]; then printf 'nameserver %s\n' "$PEER" >/etc/resolv.conf; fi
step "libc's resolver"
check "getent ahostsv4" 192.0.2.1 "$(getent ahostsv4 plain.nc.test | awk '$2 == "STREAM" { print $1 }')"
check "getent ahostsv6" 2001:db8::1 "$(getent ahostsv6 plain.nc.test | awk '$2 == "STREAM" { print $1 }')"
check "getent hosts, an alias" 2001:db8::1 "$(getent hosts alias.nc.test | awk '{ print $1 }')"
check "getent of a name that does not exist: exit status" 2 "$(getent hosts none.nc.test >&2; echo $?)"
check "python" "192.0.2.1 2001:db8::1" "$(python3 -c '
import socket
found = {entry[4][0] for entry in socket.getaddrinfo("plain.nc.test", 80)}
print(*sorted(found))')"

step "nsupdate"
{
  printf 'server %s\nzone nc.test\n' "$PEER"
  printf 'update add dynamic%s.nc.test 60 A 10.9.9.%s\n' $(for i in {1..100}; do echo "$i" "$i"; done)
  printf 'send\n'
} | nsupdate
publish updated
await update_seen >/dev/null
check "libc sees it" 10.9.9.100 "$(getent ahostsv4 dynamic100.nc.test | awk '$2 == "STREAM" { print $1 }')"
