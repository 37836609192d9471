# Sourced by the tests whose network loses packets: both sides of a transfer of a given size, which must come through whole.

readonly lossy_streams=4

# kibibytes LOSS: for each direction of each stream. Without SACK, a tenth of the packets lost leaves little of the rate.
kibibytes() {
  case $1 in
  0 | 1) size 1024 65536 ;;
  5) size 256 8192 ;;
  10) size 64 2048 ;;
  esac
}

# container_lossy NAME LOSS, monitor_lossy NAME LOSS: the container listens on IPv4, then connects by IPv6.
container_lossy() {
  listen_streams "$1.in" "$lossy_streams" "$(kibibytes "$2")k"
  publish "$1.listening"
  wait "$listener"
  await "$1.monitor_listens" 300 >/dev/null
  connect_streams "$1.out" "$lossy_streams" "$(kibibytes "$2")k" "$PEER6"
}

monitor_lossy() {
  await "$1.listening" 300 >/dev/null
  step "$2 % lost: the container listens"
  connect_streams "$1.in" "$lossy_streams" "$(kibibytes "$2")k"
  wait_for 120 "report of the container" grep -q rate "$EXCHANGE/$1.in.listen"
  compare_streams "$1.in"
  step "$2 % lost: the container connects"
  listen_streams "$1.out" "$lossy_streams" "$(kibibytes "$2")k" "$ADDR6"
  publish "$1.monitor_listens"
  wait "$listener"
  wait_for 120 "report of the container" grep -q rate "$EXCHANGE/$1.out.connect"
  compare_streams "$1.out"
  note "$2 % lost: $(rates "$1.in.listen" "$1.out.connect") Mbit/s into the container, $(rates "$1.in.connect" "$1.out.listen") out of it"
}

# rates REPORT REPORT: the mean of what both received.
rates() { awk '$1 == "rate" { sum += $2 } END { printf "%.1f", sum * 1000 / 2 }' "$EXCHANGE/$1" "$EXCHANGE/$2"; }
