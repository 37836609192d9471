# Sourced after $LIB: what the tests of sftp and scp share, whichever side is in the container.
. "${LIB%/*}/ssh.sh"

serve_files() {
  start_sshd
  publish serving
  serve_until_done "$sshd"
  check_sshd_log
}

# The sums of all files below a folder, by name.
sums() { (cd "$1" && find . -type f -print0 | LC_ALL=C sort -z | xargs -0 md5sum | md5); }

use_files() {
  local number way host back
  await serving >/dev/null
  use_ssh
  random_file big "$(size 10M 100M)"
  mkdir -p tree/deep/er
  for ((number = 0; number < $(size 30 300); number++)); do
    random_file "$(if ((number % 2)); then echo tree; else echo tree/deep/er; fi)/file $number" "$((number * 997 % 40000))"
  done

  step "sftp"
  sftp -q -b - peer <<'END'
mkdir /tmp/files
put big /tmp/files/big
get /tmp/files/big big.sftp
rename /tmp/files/big /tmp/files/renamed
chmod 600 /tmp/files/renamed
put -r tree /tmp/files/tree
get -r /tmp/files/tree tree.sftp
END
  check "md5 of what sftp put" "$(md5 big)" "$(ssh peer 'md5sum </tmp/files/renamed' | cut -d ' ' -f 1)"
  check "md5 of what sftp has got" "$(md5 big)" "$(md5 big.sftp)"
  check "sums of a tree there and back" "$(sums tree)" "$(sums tree.sftp)"
  # The first part of a file is there already: only the rest is moved.
  head -c 5M big >big.resumed
  sftp -q -b - peer6 <<'END'
reget /tmp/files/renamed big.resumed
rm /tmp/files/renamed
END
  check "md5 after reget by IPv6" "$(md5 big)" "$(md5 big.resumed)"
  check "a removed file" absent "$(ssh peer '[ -e /tmp/files/renamed ] || echo absent')"

  # scp's own protocol (-O), and SFTP, which it uses since OpenSSH 9.
  for way in -s -O; do
    for host in $(size "$([[ $way == -O ]] && echo peer || echo peer6)" "peer peer6"); do
      step "scp $way, $host"
      back=back$way$host
      scp -q "$way" big "$host:/tmp/files/$back"
      scp -q "$way" "$host:/tmp/files/$back" "$back"
      check "md5 there" "$(md5 big)" "$(ssh "$host" "md5sum </tmp/files/$back" | cut -d ' ' -f 1)"
      check "md5 there and back" "$(md5 big)" "$(md5 "$back")"
    done
    scp -q "$way" -p -r peer:/tmp/files/tree "tree$way"
    check "sums of a tree" "$(sums tree)" "$(sums "tree$way")"
  done
}
