# shellcheck shell=bash
# What scripts/azure and scripts/gcp share. A script says what it does in commands: `explain` why, then `run` one, or
# `capture` its output under a name. With --dry-run nothing runs; what is printed is a bash program that does the same.
#
# A secret never stands on a command line here: the clouds' tools sign in by themselves, and files stay files.

say() { printf '%s\n' "$*" >&2; }

# refuse CODE WHAT HINT : the one way out for a wrong argument. CODE is stable.
refuse() {
    printf 'error[%s]: %s\n  hint: %s\n' "$1" "$2" "$3" >&2
    exit 2
}

dry_run=0
# What the options say, by their names without the dashes.
declare -gA option=()

# parse_options "NAME NAME=DEFAULT …" "$@" : every option has a value; without a default it must be given.
parse_options() {
    local known=" $1 " word name
    shift
    for word in $known; do
        [[ $word == *=* ]] && option[${word%%=*}]=${word#*=}
    done
    while [ $# -gt 0 ]; do
        case "$1" in
            --dry-run) dry_run=1; shift; continue ;;
            -h | --help) usage; exit 0 ;;
            --*) name=${1#--} ;;
            *) refuse usage "unexpected ${1@Q}" "--help has examples" ;;
        esac
        [[ $known == *" $name "* || $known == *" $name="* ]] || refuse usage "unknown option ${1@Q}" "--help has them all"
        [[ $# -ge 2 && $2 != --* ]] || refuse usage "--$name needs a value" "--help has examples"
        option[$name]=$2
        shift 2
    done
    for word in $known; do
        name=${word%%=*}
        [ -n "${option[$name]+given}" ] || refuse usage "--$name is missing" "--help has examples"
        [[ ${option[$name]} != *[[:cntrl:]]* ]] || refuse control-character "--$name has a control character" "leave it out"
    done
}

# The comment at the head of the script.
usage() { sed -n '2,/^set -/{/^set -/d;s/^# \{0,1\}//p}' "$0"; }

# must_match OPTION CODE PATTERN HINT : refuses a value that does not match the whole pattern.
must_match() {
    local LC_ALL=C # a range like [a-z] is of bytes
    [[ ${option[$1]} =~ ^($3)$ ]] || refuse "$2" "--$1 ${option[$1]@Q} is not allowed" "$4"
}

# One of a list of words.
must_be_one_of() {
    [[ " $3 " == *" ${option[$1]} "* && ${option[$1]} != *' '* ]] ||
        refuse "$2" "--$1 ${option[$1]@Q} is not known" "one of: $3"
}

# An IPv4 network that is not the whole of it: 203.0.113.0/24 or a single address.
must_be_network() {
    local text=${option[$1]} octet
    local hint="an IPv4 network like 203.0.113.0/24; /8 is the widest, never 0.0.0.0/0"
    [[ $text =~ ^([0-9]{1,3})\.([0-9]{1,3})\.([0-9]{1,3})\.([0-9]{1,3})/([0-9]{1,2})$ ]] ||
        refuse network "--$1 ${text@Q} is not a network" "$hint"
    for octet in "${BASH_REMATCH[@]:1:4}"; do
        ((10#$octet <= 255)) || refuse network "--$1 ${text@Q} is not a network" "$hint"
    done
    ((10#${BASH_REMATCH[5]} >= 8 && 10#${BASH_REMATCH[5]} <= 32)) ||
        refuse network "--$1 ${text@Q} is too wide or not a network" "$hint"
}

# A file that a real run reads. A dry run does not look: it can be written before there is an image.
must_be_file() {
    [[ ${option[$1]} != -* ]] || refuse file "--$1 ${option[$1]@Q} begins with a dash" "write ./${option[$1]}"
    [ "$dry_run" = 1 ] || [ -f "${option[$1]}" ] || refuse file "--$1 ${option[$1]@Q}: no such file" "$2"
}

# Words as a shell reads them. A captured value, marked by \x01NAME\x02, is written "$NAME".
quoted() {
    local word text line=''
    for word in "$@"; do
        if [[ $word == *$'\x01'* ]]; then
            # shellcheck disable=SC2016
            text=${word//$'\x01'/'${'}
            text="\"${text//$'\x02'/'}'}\""
        elif [[ $word =~ ^[A-Za-z0-9_./:=@%+,-]+$ ]]; then
            text=$word
        else
            text=${word@Q}
        fi
        line+="${line:+ }$text"
    done
    printf '%s' "$line"
}

# The head of a dry run's output.
begin() {
    [ "$dry_run" = 1 ] || return 0
    printf '#!/usr/bin/env bash\n# %s: what would run\nset -euo pipefail\n' "$1"
}

# Why the next command is there, in one line.
explain() {
    if [ "$dry_run" = 1 ]; then printf '\n# %s\n' "$*"; else say "── $*"; fi
}

# Runs a command, or prints it.
run() {
    if [ "$dry_run" = 1 ]; then printf '%s\n' "$(quoted "$@")"; else "$@"; fi
}

# capture NAME COMMAND… : its output becomes the value of NAME.
capture() {
    local -n captured=$1
    if [ "$dry_run" = 1 ]; then
        # shellcheck disable=SC2016
        printf '%s=$(%s)\n' "$1" "$(quoted "${@:2}")"
        # shellcheck disable=SC2034
        captured=$'\x01'"$1"$'\x02'
    else
        # shellcheck disable=SC2034
        captured=$("${@:2}")
    fi
}

# unless CHECK… -- COMMAND… : COMMAND where CHECK fails, which is what a cloud's `describe` does where there is nothing.
unless() {
    local check=()
    while [ "$1" != -- ]; do check+=("$1"); shift; done
    shift
    if [ "$dry_run" = 1 ]; then
        printf '%s >/dev/null 2>&1 ||\n    %s\n' "$(quoted "${check[@]}")" "$(quoted "$@")"
    else
        "${check[@]}" >/dev/null 2>&1 || "$@"
    fi
}

# keep FILE COMMAND… : its output becomes the contents of FILE.
keep() {
    if [ "$dry_run" = 1 ]; then
        printf '%s >%s\n' "$(quoted "${@:2}")" "$(quoted "$1")"
    else
        "${@:2}" >"$1"
    fi
}

# require NAME VALUE CODE WHAT HINT : what was captured under NAME must be VALUE.
require() {
    local -n found=$1
    if [ "$dry_run" = 1 ]; then
        # shellcheck disable=SC2016
        printf '[ "${%s}" = %s ] || { echo %s >&2; exit 1; }\n' "$1" "$(quoted "$2")" "$(quoted "error[$3]: $4")"
    elif [ "$found" != "$2" ]; then
        refuse "$3" "$4" "$5"
    fi
}

# relay_files FOLDER BROKER: sets `relay_files`, what scripts/lib/install-relay installs, put together in FOLDER.
relay_files() {
    run mkdir -p "$1"
    # The key is where the unit's credential is; the addresses are the example's.
    keep "$1/relay.toml" sed -e "s/broker.example.org:7443/$2/" \
        -e 's,pki/host.key,/run/credentials/adyton-host.service/host.key,' host/examples/remote.toml
    run cp "${option[certificate]}" "$1/relay.pem"
    run install -m 0600 "${option[private-key]}" "$1/relay.key"
    # shellcheck disable=SC2034
    relay_files=("$(program adyton-host)" host/systemd/adyton-host.service host/systemd/remote.conf
        scripts/lib/install-relay "$1/relay.toml" "$1/relay.pem" "$1/relay.key")
}

# What scripts/*/relay ask for beside the cloud's own.
must_be_relay() {
    must_be_network clients
    must_be_network admin
    must_match broker broker '[A-Za-z0-9.-]{1,253}:[0-9]{1,5}' "the broker's release listener, like broker.example.org:7443"
    must_be_file certificate "the relay's TLS certificate, in PEM"
    must_be_file private-key "the certificate's private key, in PEM"
}

# Programs of this repository, built by `cargo build --release --workspace`.
program() { printf '%s' "${CARGO_TARGET_DIR:-target}/release/$1"; }

# need_tool COMMAND WHERE : a real run needs the cloud's own tool.
need_tool() {
    [ "$dry_run" = 1 ] || command -v "$1" >/dev/null 2>&1 || refuse tool "$1 is not installed" "$2"
}

# The one plan of addresses, the same in every deployment, so that the image need not be told.
# shellcheck disable=SC2034
{
    guest_network=10.42.0.0/24 guest_address=10.42.0.4
    relay_network=10.42.1.0/24 relay_address=10.42.1.4
    enclave_port=7001 # the guest listens: one connection of the relay's carries every stream, both ways
    client_port=8443  # the relay listens: clients
}
