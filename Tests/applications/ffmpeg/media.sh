# Sourced by both sides, which do the same: each makes a film, sends it in two ways, and receives the other's.

readonly udp_port=5000 rtp_port=5004 # RTP's control packets have the port behind it
readonly film_seconds=$(size 2 20) frames_per_second=25
# A frame leaves ffmpeg's receiver when the next one has begun; RTP's word of the end (BYE) may overtake the last ones. So
# the film is received up to its last but two.
readonly rtp_frames=$((film_seconds * frames_per_second - 2))
readonly quiet_seconds=3             # without packets: the film has ended, of which MPEG-TS by UDP does not tell

# film FILE SIZE: a transport stream of video and sound.
film() {
  ffmpeg -nostdin -hide_banner -loglevel error -f lavfi -i "testsrc2=size=$2:rate=$frames_per_second:duration=$film_seconds" \
    -f lavfi -i "sine=frequency=440:duration=$film_seconds" -c:v mpeg2video -b:v 2M -c:a mp2 -b:a 128k -f mpegts "$1"
}

# packets FILE: each packet's stream, size and md5, without times, which begin anew at each receiver.
packets() {
  ffmpeg -nostdin -hide_banner -loglevel error -i "$1" -map 0 -c copy -f framemd5 - |
    awk -F, '!/^#/ { print $1, $5, $6 }' | sort -s -k 1,1
}

# frames FILE: size and md5 of each picture, decoded, of those that RTP has to bring.
frames() {
  ffmpeg -nostdin -hide_banner -loglevel error -i "$1" -map 0:v -frames:v "$rtp_frames" -f framemd5 - |
    awk -F, '!/^#/ { print $5, $6 }'
}

# receive OUTPUT OPTION…: in the background; its pid in $receiver.
receive() {
  local output=$1
  shift
  ffmpeg -nostdin -hide_banner -loglevel debug "$@" "$output" >"$output.log" 2>&1 &
  receiver=$!
}

# ffmpeg says this of each socket that it has bound.
is_bound() { (($(grep -c 'end receive buffer size' "$1.log") >= $2)); }

# exchange FILM: both ways of sending it to the peer, while the peer's is received.
exchange() {
  local udp rtp
  receive udp.ts -i "udp://$ADDR:$udp_port?timeout=$((quiet_seconds * 1000000))" -map 0 -c copy -f mpegts
  udp=$receiver
  printf 'v=0\no=- 0 0 IN IP6 %s\ns=film\nc=IN IP6 %s\nt=0 0\nm=video %s RTP/AVP 32\n' "$ADDR6" "$ADDR6" "$rtp_port" >film.sdp
  receive rtp.m2v -protocol_whitelist file,udp,rtp -i film.sdp -map 0:v -c copy -frames:v "$rtp_frames" -f mpeg2video
  rtp=$receiver
  wait_for 30 "bound UDP receiver" is_bound udp.ts 1
  wait_for 30 "bound RTP receivers" is_bound rtp.m2v 2
  packets "$1" >"$EXCHANGE/packets.$SIDE"
  frames "$1" >"$EXCHANGE/frames.$SIDE"
  publish "$SIDE.receives"

  await "$(other_side).receives" >/dev/null
  ffmpeg -nostdin -hide_banner -loglevel error -re -i "$1" -map 0:v -c copy -f rtp \
    "rtp://[$PEER6]:$rtp_port" -map 0 -c copy -f mpegts "udp://$PEER:$udp_port?pkt_size=1316"
  wait "$udp" "$rtp"
}

# compare: what came with what was sent. Within a film nothing is sent again: a packet that is lost is missing.
compare() {
  local other
  other=$(other_side)
  packets udp.ts >udp.packets
  diff "$EXCHANGE/packets.$other" udp.packets | head -5 || grep -iE 'overrun|corrupt|error|continuity' udp.ts.log | head
  check "packets by UDP" "$(wc -l <"$EXCHANGE/packets.$other")" "$(wc -l <udp.packets)"
  check "md5 of the packets' md5 sums" "$(md5 "$EXCHANGE/packets.$other")" "$(md5 udp.packets)"
  frames rtp.m2v >rtp.frames
  check "frames by RTP" "$(wc -l <"$EXCHANGE/frames.$other")" "$(wc -l <rtp.frames)"
  check "md5 of the frames' md5 sums" "$(md5 "$EXCHANGE/frames.$other")" "$(md5 rtp.frames)"
  note "$SIDE received $(wc -l <udp.packets) packets by UDP and $(wc -l <rtp.frames) frames by RTP, none lost"
}

other_side() { if [[ $SIDE == netcon ]]; then echo monitor; else echo netcon; fi; }
