#!/usr/bin/env bash
. "$LIB"
. "$APP_DIR/transfer.sh"
. "$APP_DIR/lossy.sh"

# drop PERCENT: of what arrives from the container and of what goes to it. Behind TCP's own output an ordinary chain would
# tell the sender of the drop, which no wire does; so what leaves is dropped by netdev's egress, where the kernel has it.
drop() {
  nft -f - <<RULES
table netdev lossy
delete table netdev lossy
table netdev lossy {
  chain in { type filter hook ingress device nc0 priority 0; numgen random mod 100 < $1 counter drop; }
  chain out { type filter hook egress device nc0 priority 0; numgen random mod 100 < $1 counter drop; }
}
RULES
}

drop 0 || skip "this kernel has no nftables with numgen and netdev chains (nor, mostly, netem)"
for loss in 0 1 5 10; do
  drop "$loss"
  monitor_lossy "filter$loss" "$loss"
  nft list table netdev lossy
done
