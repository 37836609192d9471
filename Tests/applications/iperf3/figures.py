#!/usr/bin/env python3
"""figures.py tcp|udp FILE: what iperf3 --json said, in one line: rates in Gbit/s, for UDP the share of datagrams lost.

Ends with 1 and the reason where iperf3 says an error, where nothing came through, where more came than was sent, or
where UDP lost more than a loaded machine explains at these rates.
"""

import json
import sys

ALLOWED_LOSS = 0.05  # of the datagrams: the machine may be loaded, and nobody sends them again

way, path = sys.argv[1:3]
said = json.load(open(path))
if "error" in said:
    sys.exit(f"iperf3: {said['error']}")
end = said["end"]
words = []
if way == "tcp":
    for suffix in ("", "_bidir_reverse"):
        if "sum_sent" + suffix not in end:
            continue
        sent, received = end["sum_sent" + suffix], end["sum_received" + suffix]
        # The receiver stops counting when the sender's time is up: what is on its way then is not in.
        if not 0.5 * sent["bytes"] <= received["bytes"] <= sent["bytes"]:
            sys.exit(f"sent {sent['bytes']} bytes, received {received['bytes']}")
        words.append(f"{received['bits_per_second'] / 1e9:.1f} Gbit/s")
else:
    total = end["sum"]
    if total["packets"] == 0:
        sys.exit("no datagram was sent")
    loss = total["lost_packets"] / total["packets"]
    if loss > ALLOWED_LOSS:
        sys.exit(f"{total['lost_packets']} of {total['packets']} datagrams lost")
    disorder = sum(stream["udp"].get("out_of_order", 0) for stream in end["streams"])
    if disorder:
        sys.exit(f"{disorder} datagrams came out of order")
    words.append(f"{loss:.2%} lost")
print(" and ".join(words))
