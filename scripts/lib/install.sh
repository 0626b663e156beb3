# shellcheck shell=bash
# Installs what is missing, on Debian 12 or later. Sourced by scripts/{demo,test,bench}; does nothing where all is there.

say() { printf '%s\n' "$*" >&2; }

as_root() {
    if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo "$@"; fi
}

# need_packages COMMAND=PACKAGE ... : installs the packages whose command is missing.
# A command that begins with a slash is a file.
need_packages() {
    local missing=() pair PATH=$PATH:/usr/sbin:/sbin
    for pair in "$@"; do
        [ -f "${pair%%=*}" ] || command -v "${pair%%=*}" >/dev/null 2>&1 || missing+=("${pair#*=}")
    done
    [ ${#missing[@]} -eq 0 ] && return
    if ! command -v apt-get >/dev/null 2>&1; then
        say "missing: ${missing[*]} (install them with your package manager)"
        return 1
    fi
    say "installing ${missing[*]}"
    as_root env DEBIAN_FRONTEND=noninteractive apt-get update -qq >&2
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >&2
}

# QEMU of the backports: that of Debian 12 itself (7.2) knows neither SEV-SNP nor TDX.
need_qemu() {
    local version mirror
    version=$({ /usr/bin/qemu-system-x86_64 --version 2>/dev/null || true; } | sed -n 's/.*version \([0-9]*\.[0-9]*\).*/\1/p')
    if [ -n "$version" ] && [ "$(printf '%s\n9.1\n' "$version" | sort -V | head -n 1)" = 9.1 ]; then
        return
    fi
    command -v apt-get >/dev/null 2>&1 || { say "QEMU 9.1 or later is needed"; return 1; }
    say "installing QEMU from bookworm-backports"
    # From where this machine has Debian 12 itself.
    # shellcheck disable=SC2016
    mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Release: bookworm' | head -n 1)
    [ -n "$mirror" ] || { say "Debian 12 is not among apt's sources: install QEMU 9.1 or later"; return 1; }
    echo "deb $mirror bookworm-backports main" |
        as_root tee /etc/apt/sources.list.d/adyton-backports.list >/dev/null
    as_root env DEBIAN_FRONTEND=noninteractive apt-get update -qq >&2
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
        -t bookworm-backports qemu-system-x86 >&2
}

need_rust() {
    if ! command -v cargo >/dev/null 2>&1 && [ -x "$HOME/.cargo/bin/cargo" ]; then
        PATH="$HOME/.cargo/bin:$PATH"
    fi
    if ! command -v cargo >/dev/null 2>&1; then
        say "A Rust toolchain (1.95 or later) is needed: https://rustup.rs"
        return 1
    fi
}

# A C compiler builds AWS-LC and SQLite; nothing else is needed to build Adyton.
need_build_tools() {
    need_rust
    need_packages cc=build-essential
}
