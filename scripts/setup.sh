#!/usr/bin/env bash
# Installs the Debian packages that are missing; the Swift toolchain is the one thing the user brings.
# Nothing missing: no network, no privilege, well under a second.
#
#   scripts/setup.sh [build|demo|test|bench|all]   what is needed for that step (default: all)
#   scripts/setup.sh --list                        the packages, with what each is for
#   scripts/setup.sh packages NAME…                these Debian packages (the applications that make apps runs)
#
# NETCOND_SETUP=0 installs nothing (another system, packages provided otherwise).
set -euo pipefail

# The one list. package | steps | there already if: a command, a package (pattern), or a shared object | what for
packages() {
  cat <<'LIST'
liburing-dev   | build           | pkg:liburing-dev     | io_uring, the daemon's event loop (header and library)
liblwip-dev    | build           | pkg:liblwip-dev      | packaged TCP/IP stack: NETCOND_LWIP=system, and the fallback where no source package can be had
dpkg-dev       | build           | cmd:dpkg-source      | unpacks lwIP's source package
pkg-config     | build           | cmd:pkg-config       | tells SwiftPM how to compile and link liburing and lwIP
g++            | build           | pkg:libstdc++-*-dev  | libstdc++ and libc files which the Swift toolchain links with
libncurses6    | build           | so:libncurses.so.6   | the Swift toolchain itself needs it
libsqlite3-0   | build           | so:libsqlite3.so.0   | the Swift toolchain itself needs it
libxml2        | build           | so:libxml2.so.2      | the Swift toolchain itself needs it
libcurl4       | build           | so:libcurl.so.4      | the Swift toolchain itself needs it
binutils       | build test      | cmd:readelf          | linker; readelf and nm check what the preloaded library needs and exports
git            | build           | cmd:git              | SwiftPM fetches Swift packages with it
ca-certificates| build           | pkg:ca-certificates  | lets git trust the servers of Swift packages
make           | build           | cmd:make             | the Makefile
curl           | demo test bench | cmd:curl             | an unmodified client
python3        | demo test bench | cmd:python3          | an unmodified server (http.server), and test programs
iproute2       | demo test bench | cmd:ip               | network namespaces: the kernel's own stack as the peer across a tap
valgrind       | test            | cmd:valgrind         | watches the memory of an intercepted program
gcc            | test bench      | cmd:gcc              | small C programs that the tests run with and without the library; sanitizers
libc6-dev      | test bench      | pkg:libc6-dev        | headers for them
passt          | test bench      | cmd:pasta            | pasta, a peer to compare with
slirp4netns    | test bench      | cmd:slirp4netns      | another one
wrk            | test bench      | cmd:wrk              | load on nginx
redis-server   | test bench      | cmd:redis-server     | a server under load; its system service stays off
redis-tools    | test bench      | cmd:redis-benchmark  | that load
nginx-light    | test bench      | cmd:nginx            | a real server (epoll, sendfile, accept4); its system service stays off
openssl        | test            | cmd:openssl          | certificates for TLS tests, s_client and s_server
iputils-ping   | test            | cmd:ping             | pings the daemon's addresses
procps         | test            | cmd:ps               | looks at processes and their memory
dnsmasq-base   | test            | cmd:dnsmasq          | name server, DHCP server and router advertisements for the tests
strace         | test            | cmd:strace           | shows that no name is asked of the host's resolver
nftables       | test            | cmd:nft              | loses packets on the kernel's side of a tap
wget           | test            | cmd:wget             | a client that looks names up by itself
bind9-dnsutils | test            | cmd:dig              | dig asks a name server given by address
LIST
}

readonly oldest_swift=6.2 # swift-tools-version in Package.swift; built and tested with 6.3

say() { printf '%s\n' "setup: $*"; }
fail() { # cause, cure…
  printf '%s\n' "setup: ERROR: $1" >&2
  shift
  local line
  for line in "$@"; do printf '%s\n' "setup:   $line" >&2; done
  exit 1
}

PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin # nginx and ip stand there, and a user's PATH may lack them

step=${1:-all}
named=("${@:2}")
case $step in
  build | demo | test | bench | all | packages) ;;
  --list)
    packages | while IFS='|' read -r name steps _ purpose; do
      printf '%-16s%-17s%s\n' "${name// /}" "${steps# }" "${purpose# }"
    done
    exit 0
    ;;
  *)
    sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "$0" >&2
    exit 64
    ;;
esac

find_swift() {
  if ! command -v swift >/dev/null; then
    fail "no 'swift' on PATH: netcond is written in Swift and needs a toolchain, $oldest_swift or newer (6.3 is tested)." \
      "Install one from https://www.swift.org/install/linux/ and put its usr/bin on PATH." \
      "With sudo, hand PATH on: sudo env PATH=\"\$PATH\" make …"
  fi
}

check_swift() {
  local output version
  if ! output=$(swift --version 2>&1); then
    fail "'$(command -v swift)' does not run: $(tail -n 1 <<<"$output")" \
      "Libraries it misses: $(ldd "$(readlink -f "$(command -v swift)")" 2>/dev/null | awk '/not found/ { print $1 }' | xargs)" \
      "Install the Debian packages that the toolchain's own page names for this system."
  fi
  version=$(sed -n 's/.*Swift version \([0-9][0-9.]*\).*/\1/p' <<<"$output" | head -n 1)
  if [[ -n $version && $(printf '%s\n' "$oldest_swift" "$version" | sort -V | head -n 1) != "$oldest_swift" ]]; then
    fail "Swift $version is too old: $oldest_swift or newer is needed (6.3 is tested)." \
      "Install one from https://www.swift.org/install/linux/ and put its usr/bin first on PATH."
  fi
}

is_installed() { # "cmd:NAME", "pkg:PATTERN" or "so:NAME"
  case $1 in
    cmd:*) command -v "${1#cmd:}" >/dev/null ;;
    so:*) [[ $shared_objects == *"${1#so:} "* ]] ;;
    pkg:*) [[ $(dpkg-query --show --showformat='${db:Status-Abbrev}\n' "${1#pkg:}" 2>/dev/null) == *[hipru]i* ]] ;;
  esac
}

missing_packages() {
  if [[ $step == packages ]]; then
    local package
    for package in "${named[@]}"; do
      is_installed "pkg:$package" || printf '%s\n' "$package"
    done
    return
  fi
  local name steps test shared_objects
  shared_objects=$(ldconfig -p)
  while IFS='|' read -r name steps test _; do
    if [[ $step == all || " $steps " == *" $step "* || " $steps " == *" build "* ]]; then
      is_installed "${test// /}" || printf '%s\n' "${name// /}"
    fi
  done < <(packages)
}

# Sets as_root: the words to put before a command that needs privilege.
find_privilege() {
  as_root=()
  if ((EUID == 0)); then return; fi
  if ! command -v sudo >/dev/null; then
    fail "installing packages needs root, and there is no sudo." \
      "As root, run: apt-get update && apt-get install --no-install-recommends $*" "Then run this again."
  fi
  if ! sudo -n true 2>/dev/null && [[ ! -t 0 ]]; then
    fail "installing packages needs root, and sudo asks for a password, but there is no terminal to ask on." \
      "Run once: sudo apt-get install --no-install-recommends $*" "Then run this again."
  fi
  as_root=(sudo)
}

# A package that brings a service (nginx) would start it: this policy refuses that while we install.
policy=/usr/sbin/policy-rc.d
policy_is_ours=0
forbid_services() {
  if [[ -e $policy ]]; then return; fi
  policy_is_ours=1
  printf '#!/bin/sh\n# by netcond, scripts/setup.sh: start no service during this installation\nexit 101\n' |
    "${as_root[@]}" tee "$policy" >/dev/null
  "${as_root[@]}" chmod 755 "$policy"
}
allow_services() {
  if ((policy_is_ours)); then "${as_root[@]}" rm -f "$policy"; fi
  policy_is_ours=0
}

# Off after a reboot, too: what the packages just installed brought. What the user had before stays as it is.
keep_services_off() {
  local unit
  if ! command -v systemctl >/dev/null; then return; fi
  dpkg-query --listfiles "$@" 2>/dev/null | sed -n 's|^/lib/systemd/system/\([^/@]*\.service\)$|\1|p' |
    while read -r unit; do "${as_root[@]}" systemctl --quiet disable "$unit" >/dev/null 2>&1 || true; done
}

apt_get() {
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1 \
    apt-get -o DPkg::Lock::Timeout=300 -o Acquire::Retries=2 "$@"
}

install_packages() {
  if ! command -v apt-get >/dev/null; then
    fail "this is no Debian (no apt-get), and these Debian packages were not found: $*" \
      "Install what corresponds to them here ('scripts/setup.sh --list' tells what each is for)," \
      "then run make with NETCOND_SETUP=0."
  fi
  find_privilege "$@"
  say "installing: $*"
  if ! apt_get update; then
    say "WARNING: 'apt-get update' failed; trying with the package lists that are there."
  fi
  trap allow_services EXIT
  forbid_services
  if ! apt_get install --yes --no-install-recommends "$@"; then
    fail "apt-get could not install: $*" \
      "The lines above tell why. Usual causes: no network (check: apt-get update), a system that is not Debian 12" \
      "and names a package otherwise, an interrupted installation (cure: dpkg --configure -a), a full disk."
  fi
  allow_services
  trap - EXIT
  keep_services_off "$@"
}

if [[ $step == packages ]]; then check_swift() { :; }; else find_swift; fi
if [[ ${NETCOND_SETUP:-1} == 0 ]]; then
  check_swift
  exit 0
fi

mapfile -t missing < <(missing_packages)
if ((${#missing[@]} == 0)); then
  check_swift
  say "nothing to install for '$step'."
  exit 0
fi
install_packages "${missing[@]}"

mapfile -t missing < <(missing_packages)
if ((${#missing[@]} > 0)); then
  fail "installed, yet not found: ${missing[*]}" "Check: dpkg --list ${missing[*]}"
fi
check_swift
say "done."
