#!/usr/bin/env bash
. "$LIB"

fetch() { wget --no-verbose --tries 1 --ca-certificate "$EXCHANGE/server.pem" "$@"; }
sums() { (cd "$1/site" && find . -type f | LC_ALL=C sort | xargs md5sum | md5); }

step "mirrors"
site=$(await site)
fetch --mirror --level inf --no-parent "http://$PEER/site/index.html"
check "sums of the mirror" "$site" "$(sums "$PEER")"
fetch --mirror --level inf --no-parent --no-host-directories --directory-prefix six "https://[$PEER6]/site/index.html"
check "sums by IPv6 and TLS" "$site" "$(sums six)"
publish mirrored
changed=$(await changed)
# Only to mark the place in the server's log.
check "a file that is not there" 8 "$(fetch "http://$PEER/renewed" || echo $?)"
# It follows the links of a page that is as it was only where it has asked for that by HEAD.
fetch --mirror --level inf --no-parent --no-if-modified-since "http://$PEER/site/index.html"
check "sums of the renewed mirror" "$changed" "$(sums "$PEER")"

step "a big file, resumed"
big=$(await big)
for url in "http://$PEER/big" "https://[$PEER6]/big"; do
  fetch --output-document whole "$url"
  check "md5 of $url" "$big" "$(md5 whole)"
  rm -f big
  head -c 4000000 whole >big
  fetch --continue "$url"
  check "md5 after a resumption" "$big" "$(md5 big)"
done
