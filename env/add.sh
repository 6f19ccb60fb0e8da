#!/usr/bin/env bash
# Adds optional libraries to .venv, by the headings of pins.txt: ./run env/add.sh [--quiet] tensorrt
set -euo pipefail

repo=$(dirname "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")")
source "$repo/env/common.sh"

options=()
if [[ ${1:-} == --quiet ]]; then
    options=(--quiet)
    shift
fi
for name in "$@"; do
    [[ -n $(pins "$name") ]] || fail "env/pins.txt has no heading [$name]"
done
"$venv/bin/python" -m pip --disable-pip-version-check install "${options[@]}" -c <(constraints) -r <(pins "$@")
