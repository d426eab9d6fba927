# shellcheck shell=sh
# Makes .venv as pyproject.toml and constraints.txt say, once, whoever starts it and however often it was interrupted.
# Sourced by ./run and ./test, which set $root (the folder of the clone) and call `set_up EXTRAS`.
#
# .venv/complete says for what the environment was made, .venv/installing that an installation is under way: where that is
# found without its installation, it was cut short, and the environment is made anew.

venv=$root/.venv
log=$venv/install.log

say() { printf 'tidegate: %s\n' "$*" >&2; }
# Exit codes as in src/tidegate/cli/exits.py.
refuse() { code=$1; shift; say "$*"; exit "$code"; }

# What the environment depends on, and which of it: another place, other pins, another C source mean another environment.
fingerprint() {
    printf '%s\n' "$root"
    cat "$root/pyproject.toml" "$root/constraints.txt" "$root/scripts/setup.sh" "$root"/ext/*.[ch] "$root"/ext/argon2/*.[ch] | cksum
}

is_made_for() {
    { fingerprint; printf 'extras %s\n' "$1"; } | cmp -s - "$venv/complete"
}

is_complete() {
    [ -f "$venv/complete" ] || return 1
    # The tests have everything installed; the benchmarks what is embedded too.
    is_made_for "$1" || is_made_for embedded,test || { [ "$1" = embedded ] && is_made_for bench,embedded; } || return 1
    # Made for a Python that has gone since, or that this user may not run.
    "$venv/bin/python" -I -c 'import tidegate' 2>/dev/null
}

find_python() {
    for python in ${PYTHON:-} python3 python3.14 python3.13 python3.12 python3.11; do
        if "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            "$python" -c 'import ensurepip, venv' 2>/dev/null && return
            refuse 72 "Python at $(command -v "$python") lacks venv; install it first, on Debian: apt-get install python3-venv"
        fi
    done
    refuse 72 "Python 3.11 or newer is needed and none was found; install it, or set PYTHON to its path"
}

# pip, telling what it fetches; everything it says goes to the log.
pip() {
    rm -f "$venv/pip-failed"
    { "$venv/bin/python" -m pip "$@" 2>&1 || : >"$venv/pip-failed"; } | tee -a "$log" |
        sed -n 's/^Collecting \([A-Za-z0-9_.-]*\).*/    \1/p; s/^Installing collected packages.*/    unpacking/p' >&2
    [ ! -e "$venv/pip-failed" ]
}

# The extension of ext/ is built with the package where there is a compiler; without it every hash takes longer.
tell_of_argon2() {
    "$venv/bin/python" -I -c 'import tidegate.passwords._argon2' 2>>"$log" && return
    say "the fast Argon2 could not be built (see $log), so passwords hash at a third of the speed; on Debian:"
    say "    apt-get install gcc libc6-dev python3-dev, then rm -r .venv and start again"
}

# Whether .venv can be built upon: not one whose installation was cut short, nor one that was copied from elsewhere.
is_usable() {
    [ ! -e "$venv/installing" ] || return 1
    [ ! -f "$venv/complete" ] || [ "$(head -n 1 "$venv/complete")" = "$root" ] || return 1
    "$venv/bin/python" -I -c 'import pip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

install() {
    extras=$1
    # What was installed for the tests or the benchmarks stays installed.
    if grep -qsx 'extras embedded,test' "$venv/complete"; then
        extras=embedded,test
    elif [ "$extras" = embedded ] && grep -qsx 'extras bench,embedded' "$venv/complete"; then
        extras=bench,embedded
    fi
    if ! is_usable; then
        find_python
        say "making $venv with $("$python" -V)"
        rm -rf "$venv"
        { mkdir "$venv" && : >"$venv/installing" && "$python" -m venv "$venv"; } || refuse 73 "$venv cannot be made; clone into a folder that you may write"
    fi
    rm -f "$venv/complete"
    : >"$venv/installing"
    : >"$log"
    say "installing the pinned dependencies"
    pip install -c "$root/constraints.txt" -e "$root[$extras]" ||
        { tail -n 15 "$log" >&2; refuse 69 "the installation failed, see above; when the cause is mended, start again"; }
    tell_of_argon2
    { fingerprint; printf 'extras %s\n' "$extras"; } >"$venv/complete.making"
    rm -f "$venv/installing"
    mv "$venv/complete.making" "$venv/complete"
}

# One installation at a time. The lock of flock goes with its process; of a folder, the number in it tells whether it lives.
lock() {
    if command -v flock >/dev/null; then
        exec 9<"$root/pyproject.toml"
        flock -n 9 || { say "waiting for another installation in this folder"; flock 9; }
        return
    fi
    until mkdir "$root/.venv.lock" 2>/dev/null; do
        owner=$(cat "$root/.venv.lock/pid" 2>/dev/null || :)
        if [ -n "$owner" ] && ! kill -0 "$owner" 2>/dev/null; then rm -rf "$root/.venv.lock"; continue; fi
        say "waiting for another installation in this folder"
        sleep 2
    done
    trap 'rm -rf "$root/.venv.lock"' EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    echo $$ >"$root/.venv.lock/pid"
}
unlock() {
    if command -v flock >/dev/null; then exec 9<&-; else rm -rf "$root/.venv.lock"; trap - EXIT INT TERM; fi
}

set_up() {
    # Of the caller's shell, what would mislead Python and pip.
    unset PYTHONHOME PYTHONPATH
    is_complete "$1" && return
    [ -w "$root" ] || refuse 73 "$root cannot be written, so nothing can be installed in it; clone into a folder of your own"
    if [ -e "$venv" ] && [ ! -w "$venv" ]; then
        refuse 73 "$venv belongs to another user and does not serve you as it is; clone into a folder of your own"
    fi
    export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1 PIP_ROOT_USER_ACTION=ignore PIP_USER=no PIP_PROGRESS_BAR=off
    export PIP_RETRIES="${PIP_RETRIES:-8}" PIP_DEFAULT_TIMEOUT="${PIP_DEFAULT_TIMEOUT:-60}"
    lock
    is_complete "$1" || (install "$1") || { code=$?; unlock; exit "$code"; }
    unlock
}
