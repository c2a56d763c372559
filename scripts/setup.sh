# SPDX-License-Identifier: Apache-2.0
# Sourced by ./demo and ./check: finds which Debian packages of scripts/packages.txt are missing, says so, and installs them
# with apt (as root or through sudo), or says what to ask an administrator for. Skipped when YUNJIN_NO_INSTALL is set.
setup_packages() {
    local missing=() p
    for p in $(sed 's/#.*//' scripts/packages.txt); do
        dpkg-query -W -f='${Status}' "$p" 2>/dev/null | grep -q 'ok installed' || missing+=("$p")
    done
    [ ${#missing[@]} -eq 0 ] && return 0
    echo "These Debian packages are needed and not installed:"
    printf '  %s\n' "${missing[@]}"
    if [ -n "${YUNJIN_NO_INSTALL:-}" ]; then
        echo "YUNJIN_NO_INSTALL is set: going on without them."
        return 0
    fi
    local sudo=
    if [ "$(id -u)" != 0 ]; then
        if sudo -n true 2>/dev/null; then sudo=sudo; else
            echo "You are not root: ask an administrator to run"
            echo "  apt-get install --no-install-recommends ${missing[*]}"
            return 3
        fi
    fi
    echo "Installing them with apt-get (as $([ -n "$sudo" ] && echo sudo || echo root)) ..."
    $sudo apt-get update -qq
    DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

# setup_build DIR [cmake options]: configures DIR once and builds it
setup_build() {
    local dir=$1
    shift
    cmake -G Ninja -B "$dir" "$@" >/dev/null
    cmake --build "$dir" -j "$(nproc)" | tail -n 1
}
