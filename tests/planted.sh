#!/usr/bin/env bash
# Plants bugs, one at a time, and expects a test to notice each of them: a suite
# that passes says little until it is known to fail. The bugs are the patches in
# tests/planted; each names the test that must catch it.
#
# usage: tests/planted.sh [NAME...]
#   NAME   only these: the name of a patch, without .patch
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# A target directory of its own: a program with a bug in it must not be left
# where others look for the real one.
target=$(realpath -m "${CARGO_TARGET_DIR:-target}")/planted
export CARGO_TARGET_DIR=$target
unset POSTRIDER_TEST_FULL
export PATH="${CARGO_HOME:-$HOME/.cargo}/bin:$PATH"
sources=$(mktemp -d)
log=$(mktemp)
trap 'rm -rf "$sources" "$log"' EXIT

loud() { printf '\n  !!! %s\n\n' "$*"; }

# header NAME PATCH: the value of a line of the patch's head.
header() { sed -n "s/^$1: //p; /^diff /q" "$2"; }

# caught PATCH: whether the test that the patch names fails with it.
caught() {
    local where binary name filter
    where=$(header Caught-by "$1")
    binary=${where%%: *} name=${where#*: }
    [[ $name == /* ]] && filter="test($name)" || filter="test(=$name)"
    # shellcheck disable=SC2086 # the binary is an option and its value
    if ! (cd "$sources" && cargo nextest run --locked --no-run $binary) >"$log" 2>&1; then
        loud "it does not compile:" && tail -n 30 "$log"
        return 1
    fi
    # shellcheck disable=SC2086
    if (cd "$sources" && cargo nextest run --locked --no-tests fail $binary -E "$filter" --no-capture) >"$log" 2>&1; then
        ! grep -q "NOT RUN" "$log" || loud "the test cannot run here: NOTHING IS SAID ABOUT THIS BUG"
        grep -q "NOT RUN" "$log"
    else
        grep -q "FAIL\|TIMEOUT\|SIG" "$log"
    fi
}

cp -r Cargo.toml Cargo.lock clippy.toml README.md .config src data docs tests benches "$sources"
patches=(tests/planted/*.patch)
if (($# > 0)); then
    patches=("${@/#/tests/planted/}")
    patches=("${patches[@]/%/.patch}")
fi

missed=0
for patch in "${patches[@]}"; do
    patch=$(realpath "$patch")
    name=$(basename "$patch" .patch) started=$SECONDS
    if ! (cd "$sources" && git apply "$patch"); then
        loud "$name no longer applies: write it anew"
        missed=$((missed + 1))
        continue
    fi
    if caught "$patch"; then
        printf 'caught in %3d s  %s, by %s\n' $((SECONDS - started)) "$name" "$(header Caught-by "$patch")"
        # Why, so that a bug is not taken for caught when something else went wrong.
        sed -n '/panicked at \(src\|tests\)/{n;s/^/                 /p;q}' "$log" | cut -c1-120
    else
        loud "$name was NOT CAUGHT by $(header Caught-by "$patch")"
        missed=$((missed + 1))
    fi
    (cd "$sources" && git apply -R "$patch")
done
printf '%d planted, %d caught\n' ${#patches[@]} $((${#patches[@]} - missed))
((missed == 0))
