# What the scripts share. Sourced, not run.
# shellcheck shell=bash

# Runs a command as root.
as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif command -v sudo > /dev/null; then
        sudo "$@"
    else
        echo "this needs root, and there is no sudo: $*" >&2
        return 1
    fi
}

# need_packages WHAT:PACKAGE… installs the packages of which WHAT, a command or a file, is missing.
need_packages() {
    local pair missing=()
    for pair in "$@"; do
        command -v "${pair%%:*}" > /dev/null || [ -e "${pair%%:*}" ] || missing+=("${pair#*:}")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    echo "installing: ${missing[*]}"
    as_root apt-get update -qq
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" > /dev/null
}

# Finds cargo where rustup puts it, even if this shell does not know of it yet.
need_cargo() {
    command -v cargo > /dev/null || PATH="${CARGO_HOME:-$HOME/.cargo}/bin:$PATH"
    if ! command -v cargo > /dev/null; then
        echo "cargo is missing: install it from https://rustup.rs" >&2
        return 1
    fi
}

# Owners, devices and mounts can only be tested by root; tests that mean something only without it drop it themselves.
tests_as_root() {
    local triple
    [ "$(id -u)" -ne 0 ] || return 0
    triple=$(rustc -vV | sed -n 's/^host: //p' | tr a-z- A-Z_)
    export "CARGO_TARGET_${triple}_RUNNER=sudo -E env PATH=$PATH"
}
