#!/usr/bin/env bash
# Runs the tests of the mmdet3d plugin where mmdet3d is: in .venv-mmdet3d, made on top of .venv where it is missing.
#   ./run env/mmdet3d.sh lite|full PYTEST_ARGS...
# lite: mmcv-lite; what mmdet3d imports and these tests never call are stand-ins. Under a minute, 60 MB.
# full: everything real. mmcv has no wheel for this Python and torch: it is compiled, 16 minutes on two idle cores. A
# build that was cut off goes on where it was, and the finished wheel is kept.
set -euo pipefail

repo=$(dirname "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")")
source "$repo/env/common.sh"
kind=${1:-}
[[ $kind == lite || $kind == full ]] || fail "usage: ./run env/mmdet3d.sh lite|full PYTEST_ARGS..."
shift
overlay=$repo/.venv-mmdet3d/$kind
wheels=$repo/.venv-mmdet3d/wheels
version=$(pins mmdet3d | sed -n 's/^mmcv==//p')
log=$repo/log/mmdet3d.log

pip() {
    "$overlay/bin/python" -m pip --disable-pip-version-check --no-input "$@" >>"$log" 2>&1 && return
    tail -n 25 "$log" >&2
    fail "pip $1 failed; all output is in log/mmdet3d.log. Call again to resume."
}

# Their own rules would bring another NumPy and OpenCV, open3d and more; what they need is listed whole.
libraries() {
    pins mmdet3d mmdet3d-base | grep -v '^mmcv=='
    if [[ $kind == full ]]; then pins mmdet3d-full; else pins mmdet3d-lite; fi
}

stamp() { { venv_stamp; libraries; } | sha256sum; }

make_overlay() {
    local options=() site
    [[ $mode == wheels ]] || options=(--system-site-packages)
    mkdir -p "$repo/log"
    : >"$log"
    rm -rf "$overlay"
    "$venv/bin/python" -m venv --without-pip "${options[@]}" "$overlay"
    site=$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
    # Not as a bare path: .venv may have such files of its own.
    echo "import site; site.addsitedir('$site')" \
        >"$("$overlay/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/below.pth"
    say "installing mmdet3d ($kind)"
    pip install --no-deps -r <(libraries)
    # Its own build asks for pkg_resources and torch, which an isolated one would not have.
    if [[ $kind == full ]]; then
        build_mmcv
        pip install --no-deps "$(mmcv_wheel)"
    fi
    stamp >"$overlay/.stamp"
}

# Nothing, or the wheel that was built for this Python.
mmcv_wheel() {
    local tag
    tag=$("$venv/bin/python" -c 'import sys; print("cp%d%d" % sys.version_info[:2])')
    compgen -G "$wheels/mmcv-$version-$tag-*.whl" || true
}

build_mmcv() {
    local source=$repo/.venv-mmdet3d/mmcv-$version
    [[ -z $(mmcv_wheel) ]] || return 0
    if [[ ! -r $source/setup.py ]]; then
        mkdir -p "$source"
        pip download --no-deps --no-build-isolation --no-binary mmcv -d "$wheels" "mmcv==$version"
        tar -xzf "$wheels/mmcv-$version.tar.gz" -C "$source" --strip-components 1
    fi
    say "compiling mmcv $version (16 minutes on two idle cores)"
    # In the folder itself, so that what is compiled already stays compiled.
    PATH=$overlay/bin:$PATH MMCV_WITH_OPS=1 FORCE_CUDA=${FORCE_CUDA:-0} MAX_JOBS=${MAX_JOBS:-$(nproc)} \
        pip wheel --no-deps --no-build-isolation -w "$wheels" "$source"
}

[[ $(read_stamp "$overlay/.stamp") == "$(stamp)" ]] || make_overlay
cd "$repo"
exec "$overlay/bin/python" "$venv/bin/pytest" test/mmdet3d_plugin "$@"
