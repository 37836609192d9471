# Sourced by both sides: what is done to a master, and what its replica must show.

# fill ADDRESS PORT: what a full synchronization carries.
fill() {
  redis-cli -h "$1" -p "$2" debug populate "$(size 5000 50000)" "from-$1" 1500 >/dev/null
  random_file big "$(size 5M 50M)"
  redis-cli -h "$1" -p "$2" -x set big <big >/dev/null
  publish "big-of-$SIDE" "$(md5 big)"
}

# write_more ADDRESS PORT: random keys, while its replicas synchronize or fall behind.
write_more() { load "$1" -p "$2" -c 20 -n "$(size 10000 200000)" -t set,lpush -d 300 -P 8 -r 5000 >more.csv; }

# same ADDRESS PORT OF-ADDRESS OF-PORT: the replica holds what its master does.
same() {
  wait_for 60 "link of replica $1 $2 to its master" field_is "$1" "$2" replication master_link_status up
  wait_for 60 "replica $1 $2 at its master's offset" field_is "$1" "$2" replication slave_repl_offset \
    "$(field "$3" "$4" replication master_repl_offset)"
  check "digest of replica $1 $2" "$(digest "$3" "$4")" "$(digest "$1" "$2")"
}

# cut_links ADDRESS PORT COUNT: a master throws its replicas out; they come back for what they missed.
cut_links() {
  check "replicas of $1 $2" "$3" "$(redis-cli -h "$1" -p "$2" client kill type replica)"
}
