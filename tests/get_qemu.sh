#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Fetches qemu-user 10 from Debian's backports and unpacks it in the cache folder, without installing anything and without
# touching the system's package lists. bookworm's own qemu 7.2 cannot run LoongArch vectors. Prints the folder of the
# programs. Exit 77, with the reason, where it cannot be had: not a Debian machine, no network.
set -u
cache="${XDG_CACHE_HOME:-$HOME/.cache}/yunjin"
bin="$cache/qemu/usr/bin"
need="qemu-aarch64 qemu-riscv64 qemu-loongarch64 qemu-x86_64"

have() { for q in $need; do [ -x "$1/$q" ] || return 1; done; }
skip() { echo "get_qemu: $*" >&2; exit 77; }

if [ -n "${YUNJIN_QEMU:-}" ]; then
    have "$YUNJIN_QEMU" || skip "YUNJIN_QEMU=$YUNJIN_QEMU does not hold $need"
    echo "$YUNJIN_QEMU"
    exit 0
fi
if have "$bin"; then echo "$bin"; exit 0; fi
if command -v qemu-loongarch64 >/dev/null; then
    version=$(qemu-loongarch64 --version | sed -n 's/.*version \([0-9]*\).*/\1/p')
    folder=$(dirname "$(command -v qemu-loongarch64)")
    if [ "${version:-0}" -ge 9 ] && have "$folder"; then echo "$folder"; exit 0; fi
fi

for tool in apt-get dpkg dpkg-deb; do command -v $tool >/dev/null || skip "no $tool here; install qemu-user 9 or later and set YUNJIN_QEMU"; done
[ "$(dpkg --print-architecture)" = amd64 ] || [ "$(dpkg --print-architecture)" = arm64 ] || skip "no prebuilt qemu-user is known for this machine"

# the mirror this machine uses already, and whether its release has qemu 9 or later itself
mirror=$(cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list 2>/dev/null | sed -n 's/^deb  *\(\[[^]]*\]  *\)\{0,1\}\(http[^ ]*debian\/\{0,1\}\) .*/\2/p' | head -1)
[ -n "$mirror" ] || mirror=$(cat /etc/apt/sources.list.d/*.sources 2>/dev/null | sed -n 's/^URIs: *\(http[^ ]*debian\/\{0,1\}\)$/\1/p' | head -1)
[ -n "$mirror" ] || skip "no Debian mirror in /etc/apt"
keys=/usr/share/keyrings/debian-archive-keyring.gpg
[ -r $keys ] || skip "no Debian keys ($keys): install debian-archive-keyring"

mkdir -p "$cache" || skip "cannot write $cache"
exec 9>"$cache/get-qemu.lock" && flock -w 900 9 || skip "another get_qemu.sh holds $cache/get-qemu.lock"
if have "$bin"; then echo "$bin"; exit 0; fi
root=$(mktemp -d "$cache/get-qemu.XXXXXX") || skip "cannot write $cache"
trap 'rm -rf "$root"' EXIT
mkdir -p "$root"/lists/partial "$root"/cache/archives/partial "$root"/etc
: > "$root/status"
echo "deb [signed-by=$keys] $mirror bookworm-backports main" > "$root/etc/sources.list"
options="-oDir::State::Lists=$root/lists -oDir::Cache=$root/cache -oDir::Etc::SourceList=$root/etc/sources.list
    -oDir::Etc::SourceParts=/dev/null -oDir::State::Status=$root/status -oAcquire::Retries=2 -oAPT::Sandbox::User="
cd "$root"
timeout 120 apt-get $options -qq update >"$root/log" 2>&1 || skip "no package list of bookworm-backports from the mirror: $(tail -1 "$root/log")"
timeout 600 apt-get $options -qq download qemu-user/bookworm-backports >"$root/log" 2>&1 || skip "qemu-user cannot be fetched: $(tail -1 "$root/log")"
dpkg-deb -x "$root"/qemu-user_*.deb "$root/unpacked" || skip "the package cannot be unpacked"
rm -rf "$cache/qemu"
mv "$root/unpacked" "$cache/qemu" || skip "cannot write $cache/qemu"
have "$bin" || skip "the package does not hold $need"
echo "$bin"
