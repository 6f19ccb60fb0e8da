#!/usr/bin/env bash
# Makes .venv and install/ from what is on this machine; called by ../run, safe to call again at any time.
#
# Without ROS 2: a virtual environment that is also a ROS 2 Jazzy install prefix, made of wheels.
# With ROS 2 sourced: a virtual environment on top of it that adds only Python libraries.
# PYTHON chooses the interpreter. A set-up that was cut off leaves a mark behind, and its step is done afresh.
set -euo pipefail

repo=$(dirname "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")")
source "$repo/env/common.sh"
python=${PYTHON:-python3}
log=$repo/log/setup.log

pip() { "$venv/bin/python" -m pip --disable-pip-version-check --quiet --no-input "$@"; }

# quietly WHAT CMD...: the output goes to the log; its end is shown when CMD fails.
quietly() {
    local what=$1
    shift
    if ! "$@" >>"$log" 2>&1; then
        tail -n 25 "$log" >&2
        fail "$what failed; all output is in log/setup.log. Call again to resume."
    fi
}

check_machine() {
    [[ $(uname -s) == Linux ]] || fail "this set-up is for Linux, not $(uname -s)."
    [[ $repo != *[[:space:]]* ]] || fail "the path '$repo' has a space in it, which ROS 2 builds cannot take."
    check_python
    local include names=() packages=()
    command -v "${CXX:-c++}" >/dev/null || { names+=("C++ compiler (${CXX:-c++})") packages+=(g++); }
    command -v make >/dev/null || { names+=(make) packages+=(make); }
    include=$("$python" -c 'import sysconfig; print(sysconfig.get_path("include"))')
    [[ -r $include/Python.h ]] || { names+=("$include/Python.h") packages+=(python3-dev); }
    "$python" -c 'import ensurepip' 2>>"$log" || { names+=("$python -m venv") packages+=(python3-venv); }
    ((${#names[@]} == 0)) || fail "missing: $(printf '%s, ' "${names[@]}")on Debian or Ubuntu: apt install ${packages[*]}"
}

check_python() {
    local minor found
    found=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>>"$log") ||
        fail "$python does not run; Python 3.10 or newer is needed (PYTHON=python3.12 chooses another)."
    minor=${found#3.}
    [[ $found == 3.* ]] && ((minor >= 10)) ||
        fail "$python is Python $found; 3.10 or newer is needed (PYTHON=python3.12 chooses another)."
    if [[ $mode != wheels ]]; then
        "$python" -c 'import rclpy' 2>>"$log" ||
            fail "$python (Python $found) cannot import rclpy of ROS 2 $mode (PYTHON=/usr/bin/python3 chooses the system's)."
    elif [[ $(uname -m) != x86_64 ]]; then
        fail "ROS 2 wheels exist for x86_64, not $(uname -m): install ROS 2 Jazzy, source it, call again."
    elif ((minor > 14)); then
        fail "$python is Python $found; ROS 2 wheels exist for 3.10 to 3.14 (PYTHON=python3.12 chooses another)."
    fi
}

make_venv() {
    if [[ -e $venv && ! -e $venv/.unfinished && ! -e $venv/.origin ]]; then
        fail "$venv was not made by this set-up; move it away and call again."
    fi
    rm -rf "$venv"
    mkdir "$venv"
    touch "$venv/.unfinished"
    local options=()
    [[ $mode == wheels ]] || options=(--system-site-packages)
    say "making .venv with $("$python" --version), ROS 2 from $([[ $mode == wheels ]] && echo 'wheels (Jazzy)' || echo "$mode, as sourced")"
    quietly "python -m venv" "$python" -m venv "${options[@]}" "$venv"
    venv_origin >"$venv/.origin"
}

# The wheels' CMake files name the folders of the machine that built them.
localize_wheels() {
    local site include
    site=$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
    include=$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("include"))')
    find "$venv/share" -path '*/cmake/*.cmake' -exec sed -i -E \
        -e "s#/opt/python/cp3[0-9]+-cp3[0-9]+/lib/python3\.[0-9]+/site-packages#$site#g" \
        -e "s#/opt/python/cp3[0-9]+-cp3[0-9]+/include/python3\.[0-9]+#$include#g" {} +
}

# What package.xml asks for and the sourced ROS 2 lacks: said once, because rosdep, not pip, installs it.
name_missing_packages() {
    local name missing=()
    for name in $(grep -oP '<(exec_)?depend>\K[a-z0-9_]+(?=</)' "$repo/package.xml"); do
        find_in_ament_index "$name" || missing+=("$name")
    done
    ((${#missing[@]} == 0)) ||
        say "ROS 2 $mode has no ${missing[*]}: rosdep install --from-paths $repo --ignore-src -y brings what is missing"
}

find_in_ament_index() {
    local prefix
    for prefix in ${AMENT_PREFIX_PATH//:/ }; do
        [[ ! -e $prefix/share/ament_index/resource_index/packages/$1 ]] || return 0
    done
    return 1
}

install_libraries() {
    if [[ $mode == wheels ]]; then
        say "installing ROS 2 Jazzy and the Python libraries (1 GB on disk)"
        quietly "installing the libraries" pip install -r <(pins python array eval dev onnx int8 build ros)
        localize_wheels
    else
        say "installing the Python libraries; ROS 2, NumPy and OpenCV stay those of $mode"
        # Its cv_bridge is compiled against its own NumPy.
        "$venv/bin/python" -c 'import numpy; print("numpy==" + numpy.__version__)' >"$venv/host.txt"
        quietly "installing the libraries" pip install -c <(constraints) -r <(pins python eval dev onnx int8)
        command -v colcon >/dev/null || quietly "installing colcon" pip install -c <(constraints) -r <(pins build)
        name_missing_packages
    fi
    quietly "installing the nuScenes devkit" pip install --no-deps -r <(pins devkit)
    # What the interpreter has already, in the pinned version, is not installed again: its programs would be missing.
    if [[ ! -x $venv/bin/pytest || ! -x $venv/bin/ruff || ! -x $venv/bin/mypy ]]; then
        quietly "installing the development tools" pip install --no-deps --ignore-installed -r <(pins dev)
    fi
}

# Where the interpreter's own torch is, if it was built for a GPU.
gpu_torch_folder() {
    "$1" -c 'import sys, torch, pathlib
if not (torch.version.cuda or torch.version.hip):
    sys.exit("torch is a CPU build")
print(pathlib.Path(torch.__file__).parents[1])' 2>>"$log"
}

install_torch() {
    local folder version
    version=$(pins torch | sed -n 's/^torch==//p')
    if gpu_torch_folder "$venv/bin/python" >/dev/null ||
        "$venv/bin/python" -c "import torch; assert torch.__version__.startswith('$version')" 2>>"$log"; then
        return
    elif folder=$(gpu_torch_folder "$python"); then
        say "torch: taking the one in $folder, built for a GPU"
        "$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))' |
            { read -r site && echo "$folder" >"$site/gpu_torch.pth"; }
    elif say "installing torch $version, CPU build (1 GB on disk)" &&
        ! pip install -c <(constraints | grep -v '^torch==') "torch==$version+cpu" >>"$log" 2>&1; then
        say "pip finds no CPU build of torch $version; taking the default one, several GB with its CUDA libraries" \
            "(PIP_EXTRA_INDEX_URL set to PyTorch's CPU index avoids that)"
        quietly "installing torch" pip install -r <(pins torch)
    fi
}

link_sources() {
    mkdir -p "$venv/source" "$venv/workspace"
    # Goes on PYTHONPATH; the checkout itself would bring launch/ and test/ along as importable names.
    ln -sfn "$repo/tggbc_ros" "$venv/source/tggbc_ros"
    # CMake refuses to export a path inside the source folder, and NumPy's headers are in $repo/.venv:
    # reached by this link, the source folder lies beside them.
    ln -sfn "$repo" "$venv/workspace/tggbc_ros"
}

set_up_venv() {
    ! venv_is_current || return 0
    check_machine
    [[ ! -e $venv/.unfinished && $(read_stamp "$venv/.origin") == "$(venv_origin)" && -x $venv/bin/python ]] || make_venv
    touch "$venv/.unfinished"
    install_libraries
    install_torch
    link_sources
    venv_stamp >"$venv/.stamp"
    rm "$venv/.unfinished"
}

build() {
    ! build_is_current || return 0
    cd "$repo"
    local paths=("$venv/workspace/tggbc_ros")
    [[ $mode != wheels ]] || paths+=(env/interfaces/*)
    if [[ -e build/.unfinished || $(read_stamp build/.origin) != "$(build_origin)" ]]; then
        rm -rf build install
    fi
    rm -f install/.stamp
    mkdir -p build
    touch build/.unfinished
    build_origin >build/.origin
    source env/activate.sh
    say "colcon build (about a minute the first time)"
    run_colcon "${paths[@]}"
    build_stamp >install/.stamp
}

run_colcon() {
    local status=0
    colcon --log-base log build --symlink-install --paths "$@" \
        --cmake-args -DBUILD_TESTING=OFF -DPython3_EXECUTABLE="$venv/bin/python" >>"$log" 2>&1 || status=$?
    rm build/.unfinished # colcon came to its end: what it left can be built upon
    quietly "colcon build" test $status -eq 0
}

mkdir -p "$repo/log"
exec 9<"$repo/env"
flock --nonblock 9 || { say "waiting for another set-up of this checkout"; flock 9; }
: >"$log"
set_up_venv
build
say "ready"
