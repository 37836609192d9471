#!/usr/bin/env bash
# Fetches the source of lwIP, Debian's source package of it, into Sources/CLwip/lwip/ (which git ignores):
#
#   src/{core,include,netif}, COPYING   as packaged
#   .version                            the package's version; there, and this script has nothing to do
#
# Debian's machines rarely have deb-src entries. So the package sources that this machine is set up with are read as
# deb-src entries, in apt directories of our own: nothing of the system's apt state changes, no privilege is needed, and
# apt checks the signatures as ever (Signed-By is kept, the system's keyrings are used).
#
#   scripts/fetch-lwip.sh            fetch if not there; no source to be had: a warning, exit 0 (the Makefile then
#                                    builds as with NETCOND_LWIP=system)
#   NETCOND_LWIP=source …            no source to be had: an error, exit 1
#   NETCOND_LWIP=system …            nothing is fetched
set -euo pipefail
cd "$(dirname "$0")/.."

readonly target=Sources/CLwip/lwip
readonly stamp=$target/.version
readonly written_for=2.1.3 # lwipopts.h and hooks.c
readonly wanted=(core include netif)
readonly seconds=300 # for one apt-get; a mirror that does not answer must not hang a build

say() { printf '%s\n' "lwip: $*"; }

no_source() { # cause
  if [[ ${NETCOND_LWIP:-} == source ]]; then
    say "ERROR: no source of lwIP: $1" >&2
    say "  NETCOND_LWIP=source insists on it. Cure the cause, or leave the variable away (packaged liblwip, slower)." >&2
    exit 1
  fi
  {
    say "WARNING: no source of lwIP: $1"
    say "  This run builds against Debian's packaged liblwip instead, as with NETCOND_LWIP=system: it works, but"
    say "  slower (no offloads, 64 KiB windows). Cure: network access to the Debian mirror that apt is set up with"
    say "  (check: apt-get update), then run make again; it tries anew each time."
  } >&2
  exit 0
}

if [[ ${NETCOND_LWIP:-} == system ]]; then
  say "NETCOND_LWIP=system: Debian's packaged liblwip, nothing to fetch."
  exit 0
fi
if [[ -s $stamp && -e $target/src/core/tcp.c ]]; then
  exit 0
fi
for command in apt-get apt-config dpkg-source; do
  command -v "$command" >/dev/null || no_source "no '$command' here (it is Debian's; scripts/setup.sh installs dpkg-dev)."
done

say "fetching the source package through this machine's Debian mirror …"

mkdir -p .build
unpacked=$(mktemp -d "$PWD/.build/lwip.XXXXXX")
work=$(mktemp -d "${TMPDIR:-/tmp}/netcond-lwip.XXXXXX")
trap 'rm -rf "$work" "$unpacked"' EXIT
mkdir -p "$work"/{sources,cache,download} "$work"/lists/partial "$work"/cache/archives/partial
: >"$work/log"

# apt drops root's privilege to the user _apt for downloads, if that one can write where they go.
if ((EUID == 0)) && id -u _apt >/dev/null 2>&1; then
  chmod 755 "$work"
  chown -R _apt "$work"/{lists,cache,download}
fi

# deb822 stanzas (*.sources): "Types: deb" becomes deb-src; every other field, Signed-By with its keys too, stays.
sources_of_stanzas() {
  sed -E 's/^[Tt]ypes:.*/Types: deb-src/' "$1"
}
# One-line entries (*.list): "deb [options] uri suite component…"; a CD-ROM cannot be asked for a source package.
sources_of_lines() {
  sed -nE '/^[[:space:]]*deb(-src)?[[:space:]]/{ /[[:space:]]cdrom:/d; s/^[[:space:]]*deb(-src)?[[:space:]]/deb-src /p }' "$1" |
    sort -u
}

eval "$(apt-config shell main_list Dir::Etc::sourcelist/f parts Dir::Etc::sourceparts/d)"
shopt -s nullglob
index=0
for file in "${main_list:-/etc/apt/sources.list}" "${parts:-/etc/apt/sources.list.d/}"*.{list,sources}; do
  if [[ ! -r $file ]]; then continue; fi
  index=$((index + 1))
  case $file in
    *.sources) sources_of_stanzas "$file" >"$work/sources/$index.sources" ;;
    *) sources_of_lines "$file" >"$work/sources/$index.list" ;;
  esac
done
if [[ -z $(cat /dev/null "$work"/sources/*) ]]; then
  no_source "apt has no package sources here (neither /etc/apt/sources.list nor /etc/apt/sources.list.d)."
fi

# Hooks that images and desktops add to 'update' act on the system's state: not on ours.
cat >"$work/apt.conf" <<CONF
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
Dir::Etc::sourcelist "/dev/null";
Dir::Etc::sourceparts "$work/sources";
Dir::State::lists "$work/lists";
Dir::Cache "$work/cache";
Acquire::Languages "none";
Acquire::Retries "2";
Acquire::http::Timeout "20";
Acquire::https::Timeout "20";
CONF
apt_get() {
  timeout "$seconds" apt-get --config-file "$work/apt.conf" "$@" >>"$work/log" 2>&1
}
last_errors() {
  grep -E '^(E|W|Err)' "$work/log" | tail -n 3 | tr '\n' ' '
}

# A third party's repository may have no source index: that 'update' then fails, and lwIP's index is there all the same.
apt_get update || say "apt-get update reported: $(last_errors)"
(cd "$work/download" && apt_get source --download-only lwip) || no_source "apt-get source failed: $(last_errors)"

description=$(find "$work/download" -name 'lwip_*.dsc' -print -quit)
version=$(sed -n 's/^Version: //p' "$description" | head -n 1)
# apt has checked the description against the signed index, and the archives against it: dpkg-source need not again.
if ! dpkg-source --no-check --extract "$description" "$work/tree" >>"$work/log" 2>&1; then
  no_source "dpkg-source could not unpack $(basename "$description"): $(tail -n 1 "$work/log")"
fi

mkdir "$unpacked/src"
for folder in "${wanted[@]}"; do
  cp -R --preserve=timestamps "$work/tree/src/$folder" "$unpacked/src/"
done
cp "$work/tree/COPYING" "$unpacked/"
printf '%s\n' "$version" >"$unpacked/.version"
chmod -R u=rwX,go=rX "$unpacked"

# In place at once, so that an interrupted run leaves no half tree.
if [[ -e $target ]]; then mv -T "$target" "$work/old"; fi
mv -T "$unpacked" "$target"

say "lwIP $version is in $target."
if [[ $version != "$written_for"* ]]; then
  say "NOTE: lwipopts.h and hooks.c were written for $written_for; if this version does not build, use NETCOND_LWIP=system."
fi
