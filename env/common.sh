# Sourced by run, setup.sh and add.sh: where things are, and what a finished set-up is known by.
# Expects $repo, the root of the checkout.

venv=$repo/.venv
mode=${ROS_DISTRO:-wheels} # the name of the sourced ROS 2 distribution, else wheels

say() { printf 'tggbc_ros: %s\n' "$*" >&2; }
fail() {
    say "$*"
    exit 1
}

# pins NAME...: the lines below these headings of pins.txt.
pins() {
    local name
    for name in "$@"; do
        awk -v heading="# [$name]" '/^# \[/ { on = ($0 == heading) } on && !/^#/ && NF' "$repo/env/pins.txt"
    done
}

# What holds for anything installed into .venv; host.txt is there where the array libraries are the host's.
constraints() {
    if [[ -r $venv/host.txt ]]; then cat "$venv/host.txt"; else pins array; fi
    pins python eval dev torch
}

# What .venv cannot be carried over to another of: a moved checkout, another ROS 2.
venv_origin() { printf '%s %s\n' "$mode" "$repo"; }

venv_stamp() { { venv_origin; cat "$repo"/env/{pins.txt,setup.sh}; } | sha256sum; }

# What the packages cannot be built upon when it is another: the above, the interpreter.
build_origin() { venv_origin; read_stamp "$venv/pyvenv.cfg"; }

# Files below config/ and launch/ are linked into install/, so that of them only the names count.
build_stamp() {
    {
        build_origin
        printf '%s\n' "$repo"/{config,launch}/*
        cat "$repo"/{CMakeLists.txt,package.xml,msg/*.msg} "$repo"/env/interfaces/*/{CMakeLists.txt,package.xml,msg/*.msg}
    } | sha256sum
}

read_stamp() { [[ ! -r $1 ]] || cat "$1"; }

venv_is_current() { [[ -x $venv/bin/python && $(read_stamp "$venv/.stamp") == "$(venv_stamp)" ]]; }
build_is_current() { [[ $(read_stamp "$repo/install/.stamp") == "$(build_stamp)" ]]; }
