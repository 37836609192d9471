# Sourced by the tests of bind: zones, and named's configuration.

# zone NAME HOSTS: a zone's file on stdout, with as many hosts, and one name whose answer is too long for UDP.
zone() {
  cat <<ZONE
\$TTL 300
@ SOA ns hostmaster 1 3600 600 86400 300
@ NS ns
ns A $ADDR
ns AAAA $ADDR6
plain A 192.0.2.1
plain AAAA 2001:db8::1
alias CNAME plain
@ MX 10 plain
ZONE
  awk -v hosts="$2" 'BEGIN {
    for (i = 1; i <= hosts; i++) printf "host%d A 10.%d.%d.%d\n", i, i / 65536, i / 256 % 256, i % 256
    for (i = 1; i <= 60; i++) printf "long TXT \"%0100d\"\n", i
  }'
}

# named_options LINE…: the file named.conf in the current folder; more lines go into its options.
named_options() {
  cat >named.conf <<CONF
options {
  directory "$PWD";
  pid-file none;
  listen-on port 53 { any; };
  listen-on-v6 port 53 { any; };
  recursion no;
  dnssec-validation no;
  notify explicit;
  notify-delay 0;
  $*
};
controls { };
CONF
}

# sorted_transfer SERVER ZONE: the zone by AXFR, in an order that does not depend on the server. What dig says of a server that
# it had to ask again is no part of it.
sorted_transfer() { dig +noall +answer +onesoa +timeout=20 "@$1" AXFR "$2" | grep -v '^;' | tr -s ' \t' ' ' | sort; }

# wait_zone SERVER ZONE: named takes connections before it has read its zones.
wait_zone() {
  wait_port "$1" 53
  wait_for 60 "zone $2 at $1" has_zone "$1" "$2"
}

has_zone() { [[ $(dig +short +tries=1 +timeout=5 "@$1" SOA "$2") == *hostmaster* ]]; }
