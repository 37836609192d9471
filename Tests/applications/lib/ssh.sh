# Sourced after $LIB: sshd and ssh as the tests of ssh, rsync and git have them. prepare.sh makes the keys; the side that
# calls start_sshd is the server, the other one calls use_ssh. Log in as root, or as guest, whom no other file knows.

readonly ssh_keys=$EXCHANGE/ssh

# For prepare.sh, which runs before both sides: the server's key, and the one that opens root's and guest's accounts.
make_ssh_keys() {
  mkdir "$ssh_keys"
  ssh-keygen -q -t ed25519 -N '' -f "$ssh_keys/host"
  ssh-keygen -q -t ed25519 -N '' -f "$ssh_keys/user"
}

# authorize HOME OWNER
authorize() {
  mkdir -p "$1/.ssh"
  cp "$ssh_keys/user.pub" "$1/.ssh/authorized_keys"
  chmod 700 "$1" "$1/.ssh"
  chown -R "$2" "$1"
}

# sshd asks the system whom it may let in, so guest has to be one of its users; and it writes down who was there. Both
# in this mount namespace only.
make_accounts() {
  local book
  cp /etc/passwd passwd
  printf 'guest:*:2222:2222:guest:/tmp/guest:/bin/bash\n' >>passwd
  mount --bind passwd /etc/passwd
  for book in /run/utmp /var/log/wtmp /var/log/btmp /var/log/lastlog; do
    : >"${book##*/}"
    [[ -e $book ]] || : >"$book"
    mount --bind "${book##*/}" "$book"
  done
  authorize /root 0:0
  authorize /tmp/guest 2222:2222
}

# Starts sshd on port 22 of all addresses, with Debian's settings (PAM, separate privileges); its pid is in $sshd then.
start_sshd() {
  make_accounts
  mkdir -p -m 755 /run/sshd
  cat >sshd_config <<END
HostKey $ssh_keys/host
PidFile none
UsePAM yes
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
PrintMotd no
AcceptEnv LANG LC_*
GatewayPorts clientspecified
Subsystem sftp /usr/lib/openssh/sftp-server
# More than the usual 10 logins at once, of which sshd drops some at random.
MaxStartups 100
LogLevel VERBOSE
END
  /usr/sbin/sshd -D -e -f "$PWD/sshd_config" 2> >(tee sshd.log >&2) &
  sshd=$!
  wait_for 30 "sshd that listens" listens_again 1
}

# listens_again TIMES: sshd has begun to listen, IPv4 and IPv6, so often.
listens_again() { (($(grep -c 'Server listening' sshd.log) >= 2 * $1)); }

# sshd's own word on what it did: nothing of this test is wrong for it.
check_sshd_log() {
  if grep -iE 'error|fatal|panic|refused|cannot|violat' sshd.log; then fail "complaints of sshd, in its log"; fi
  printf 'ok: sshd.log: %s logins\n' "$(grep -c 'Accepted publickey' sshd.log)"
}

# A user's own settings, for ssh and for all that runs it (scp, sftp, rsync, git). Hosts: peer and peer6.
use_ssh() {
  mkdir -p -m 700 /root/.ssh
  printf 'server %s\n' "$(cat "$ssh_keys/host.pub")" >/root/.ssh/known_hosts
  cat >/root/.ssh/config <<END
Host peer
  HostName $PEER
Host peer6
  HostName $PEER6
Host *
  User root
  HostKeyAlias server
  StrictHostKeyChecking yes
  UpdateHostKeys no
  IdentityFile $ssh_keys/user
  BatchMode yes
  ConnectTimeout 60
  ServerAliveInterval 60
END
}

# rate BYTES MILLISECONDS: MB/s
rate() { printf '%s\n' "$(($1 / 1000 / ($2 > 0 ? $2 : 1)))"; }

milliseconds() { printf '%s\n' "$((${EPOCHREALTIME//[!0-9]/} / 1000))"; }
