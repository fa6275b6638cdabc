#!/usr/bin/env bash
# Starts the relay the way deploy/ says it is started, and stops it the same way:
# once as the systemd unit does, once as the container does. Each start must
# print the ready line, answer 200 on /health/ready, and end with 0 on SIGTERM.
# Where systemd or a container engine is missing, the same command line and
# environment run directly, and the output says so. Needs curl and jq.
#
# usage: tests/deploy.sh [--no-image] PATH_TO_BINARY
#   --no-image   don't build the image even where an engine could (it takes minutes)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly UNIT=deploy/systemd/postrider.service
readonly CONTAINERFILE=deploy/container/Containerfile
readonly READY_TIMEOUT_S=60 # an unoptimised binary on a busy machine
readonly STOP_TIMEOUT_S=30  # the unit's TimeoutStopSec

say() { printf '  %s\n' "$*"; }
step() { printf '%s\n' "$*"; }
fail() {
    printf 'FAILED: %s\n' "$*" >&2
    exit 1
}

# What is running, so that it never outlives this script.
root=$(mktemp -d)
pid='' service='' service_root='' container='' engine=''
# shellcheck disable=SC2317,SC2329 # called by the trap
clean_up() {
    [[ -z $pid ]] || { kill -KILL "$pid" && wait "$pid"; } 2>/dev/null || true
    [[ -z $service ]] || systemctl kill --signal=SIGKILL "$service" 2>/dev/null || true
    [[ -z $service ]] || systemctl reset-failed "$service" 2>/dev/null || true
    [[ -z $service_root ]] || rm -rf "$service_root" "/var/lib/private/$service" "/var/lib/$service"
    [[ -z $container ]] || "$engine" rm --force --volumes "$container" >/dev/null 2>&1 || true
    rm -rf "$root"
}
trap clean_up EXIT

# until_true SECONDS COMMAND...: polls; false if COMMAND never held in that time.
until_true() {
    local deadline=$((SECONDS + $1))
    shift
    until "$@"; do
        ((SECONDS < deadline)) || return 1
        sleep 0.1
    done
}

ready_line() { grep -Em1 '^postrider ready http://[^ ]+:[0-9]+$' "$1" 2>/dev/null; }
is_ready() { ready_line "$1" >/dev/null; }
is_healthy() { [[ $(curl --silent --max-time 2 --output /dev/null --write-out '%{http_code}' "$1/health/ready") == 200 ]]; }
is_gone() { ! kill -0 "$1" 2>/dev/null; }
ready_or_gone() { is_ready "$1" || is_gone "$2"; }

show_output() {
    local file
    for file in "$@"; do
        [[ ! -s $file ]] || sed "s|^|    $(basename "$file"): |" "$file" | tail -n 20 >&2
    done
}

# expect_healthy STDOUT_FILE: the ready line is there; the address it names answers.
expect_healthy() {
    local url
    url=$(ready_line "$1") || fail "it ended, or ran for $READY_TIMEOUT_S s, without its ready line"
    url=${url#postrider ready }
    say "printed: postrider ready $url"
    until_true 10 is_healthy "$url" || fail "$url/health/ready doesn't answer 200"
    say "GET /health/ready: 200"
}

# run_directly NAME COMMAND...: as a child of this script, checked and stopped.
run_directly() {
    local out="$root/$1.stdout" err="$root/$1.stderr" status=0
    shift
    "$@" >"$out" 2>"$err" </dev/null &
    pid=$!
    until_true "$READY_TIMEOUT_S" ready_or_gone "$out" "$pid" || true
    is_ready "$out" || show_output "$out" "$err"
    expect_healthy "$out"
    kill -TERM "$pid"
    if ! until_true "$STOP_TIMEOUT_S" is_gone "$pid"; then
        show_output "$err"
        fail "still running $STOP_TIMEOUT_S s after SIGTERM"
    fi
    wait "$pid" || status=$?
    pid=''
    [[ $status == 0 ]] || { show_output "$err" && fail "exit status $status after SIGTERM, not 0"; }
    say "SIGTERM: exit 0"
}

# ---- the systemd unit ------------------------------------------------------

verify_unit() {
    if ! command -v systemd-analyze >/dev/null; then
        say "systemd-analyze is not installed: the unit is not verified"
        return
    fi
    # verify wants the program to exist where the unit names it.
    local copy="$root/postrider.service"
    sed "s|/usr/local/bin/postrider|$binary|" "$UNIT" >"$copy"
    local status=0
    systemd-analyze verify "$copy" >"$root/verify" 2>&1 || status=$?
    # It warns, with status 0, about directives it ignores; and about other units.
    ! grep "postrider" "$root/verify" >&2 || fail "systemd-analyze verify complains about the unit"
    if [[ $status == 0 ]]; then
        say "systemd-analyze verify: clean"
    else
        say "systemd-analyze can't verify units here: $(tail -n 1 "$root/verify")"
    fi
}

# unit_command PROGRAM ETC STATE: the unit's own ExecStart, one word per line,
# with these in place of the installed program, /etc/postrider, /var/lib/postrider.
unit_command() {
    local word
    local -a words
    read -ra words < <(sed -n 's/^ExecStart=//p' "$UNIT")
    for word in "${words[@]}"; do
        case $word in
        /usr/local/bin/postrider) echo "$1" ;;
        /etc/postrider/*) echo "$2/${word#/etc/postrider/}" ;;
        /var/lib/postrider/*) echo "$3/${word#/var/lib/postrider/}" ;;
        *) echo "$word" ;;
        esac
    done
}

# The unit's sandbox, as properties of a transient unit: all of [Service] but
# what it is called, what it starts, and when it is started again.
unit_properties() {
    sed -n '/^\[Service\]/,/^\[/p' "$UNIT" |
        grep -E '^[A-Za-z]+=' |
        grep -vE '^(ExecStart|Restart|RestartSec|StateDirectory|User|Type)=' |
        sed 's/^/--property=/'
}

run_as_service() {
    local out err
    service=postrider-test-$$
    # Not in a temporary directory or a home: the sandbox hides both.
    service_root=$(mktemp -d /var/lib/postrider-test-files.XXXXXX)
    out=$service_root/service.stdout err=$service_root/service.stderr
    chmod 0755 "$service_root"
    install -m 0755 "$binary" "$service_root/postrider"
    install -m 0644 /dev/null "$service_root/postrider.toml"
    mapfile -t command < <(unit_command "$service_root/postrider" "$service_root" "/var/lib/$service")
    mapfile -t properties < <(unit_properties)
    say "systemd-run as $service, in the unit's sandbox: ${command[*]}"
    systemd-run --quiet --unit="$service" "${properties[@]}" \
        --property=Type=exec --property=User="$service" --property=StateDirectory="$service" \
        --property=StandardOutput="file:$out" --property=StandardError="file:$err" \
        --property=RemainAfterExit=yes --setenv=POSTRIDER_SERVER__LISTEN=127.0.0.1:0 "${command[@]}" ||
        { systemctl status --no-pager "$service" >&2 || fail "systemd couldn't start the service"; }
    until_true "$READY_TIMEOUT_S" service_ready_or_ended "$out" || true
    is_ready "$out" || show_output "$out" "$err"
    expect_healthy "$out"
    systemctl kill --signal=SIGTERM "$service"
    until_true "$STOP_TIMEOUT_S" service_ended || fail "still running $STOP_TIMEOUT_S s after SIGTERM"
    [[ $(systemctl show --property=Result --value "$service") == success ]] ||
        { show_output "$err" && fail "the service ended with $(systemctl show --property=Result,ExecMainStatus "$service" | xargs)"; }
    systemctl stop "$service"
    say "SIGTERM: exit 0"
}

service_ready_or_ended() { is_ready "$1" || service_ended; }
service_ended() { [[ $(systemctl show --property=SubState --value "$service") != running ]]; }

why_no_service() {
    if ! command -v systemd-run >/dev/null; then
        echo "systemd-run is not installed"
    elif [[ ! -d /run/systemd/system ]]; then
        echo "systemd doesn't run this machine"
    elif ((EUID != 0)); then
        echo "only root may start a system service"
    fi
}

test_unit() {
    local why
    step "systemd: $UNIT"
    verify_unit
    why=$(why_no_service)
    if [[ -z $why ]]; then
        run_as_service
        return
    fi
    say "not run as a service, $why: run directly, without the sandbox"
    install -d -m 0700 "$root/etc" "$root/state"
    install -m 0644 /dev/null "$root/etc/postrider.toml"
    mapfile -t command < <(unit_command "$binary" "$root/etc" "$root/state")
    say "program: /usr/local/bin/postrider -> $binary"
    say "directories: /etc/postrider and /var/lib/postrider -> temporary ones; configuration: an empty file"
    say "listen address: 127.0.0.1:0, by the environment, so that no port is taken"
    say "ExecStart: ${command[*]}"
    run_directly unit env -i PATH="$PATH" POSTRIDER_SERVER__LISTEN=127.0.0.1:0 "${command[@]}"
}

# ---- the container ---------------------------------------------------------

# The Containerfile's last value of a JSON instruction, one word per line.
container_words() { sed -n "s/^$1 *//p" "$CONTAINERFILE" | tail -n 1 | jq -r '.[]'; }

run_without_engine() {
    local -a entrypoint arguments environment
    mapfile -t entrypoint < <(container_words ENTRYPOINT)
    mapfile -t arguments < <(container_words CMD)
    mapfile -t environment < <(sed -n 's/^ENV *//p' "$CONTAINERFILE")
    [[ ${entrypoint[0]:-} == postrider ]] || fail "$CONTAINERFILE: ENTRYPOINT isn't postrider"
    grep -q '^STOPSIGNAL SIGTERM$' "$CONTAINERFILE" || fail "$CONTAINERFILE: STOPSIGNAL isn't SIGTERM"
    install -d -m 0700 "$root/volume"
    say "environment: ${environment[*]}"
    environment=("${environment[@]/#POSTRIDER_SERVER__LISTEN=*/POSTRIDER_SERVER__LISTEN=127.0.0.1:0}")
    environment=("${environment[@]/#POSTRIDER_DATA_DIR=\/var\/lib\/postrider/POSTRIDER_DATA_DIR=$root/volume}")
    say "replaced: listen address -> 127.0.0.1:0, volume -> a temporary directory, ${entrypoint[0]} -> $binary"
    say "command: ${entrypoint[*]} ${arguments[*]}"
    # Started in the volume: a relative default must not write into the repository.
    run_directly container env -i -C "$root/volume" PATH="$PATH" "${environment[@]}" "$binary" "${entrypoint[@]:1}" "${arguments[@]}"
    [[ -n $(ls -A "$root/volume") ]] || fail "nothing was written to the volume"
}

container_logs_ready() { "$engine" logs "$container" >"$root/image.stdout" 2>"$root/image.stderr" && is_ready "$root/image.stdout"; }

run_image() {
    local image=postrider:deploy-test address
    say "building $image with $engine; this takes minutes"
    "$engine" build --quiet -f "$CONTAINERFILE" -t "$image" . >/dev/null || fail "$engine build"
    container=$("$engine" run --detach --read-only --cap-drop ALL -p 127.0.0.1::8080 "$image")
    until_true "$READY_TIMEOUT_S" container_logs_ready || { show_output "$root"/image.std* && fail "no ready line within $READY_TIMEOUT_S s"; }
    address=$("$engine" port "$container" 8080 | head -n 1)
    until_true 10 is_healthy "http://$address" || fail "http://$address/health/ready doesn't answer 200"
    say "printed its ready line; GET /health/ready through the published port: 200"
    "$engine" stop --time "$STOP_TIMEOUT_S" "$container" >/dev/null
    [[ $("$engine" inspect --format '{{.State.ExitCode}}' "$container") == 0 ]] || fail "exit status after $engine stop isn't 0"
    say "$engine stop: exit 0"
}

test_container() {
    local candidate
    step "container: $CONTAINERFILE"
    for candidate in docker podman; do
        if "$candidate" info >/dev/null 2>&1; then
            engine=$candidate
            break
        fi
    done
    if [[ -n $engine && $image_wanted == yes ]]; then
        run_image
        return
    fi
    if [[ -z $engine ]]; then
        say "no working container engine (docker info and podman info fail): its instructions are followed directly"
    else
        say "the image is not built (--no-image): its instructions are followed directly"
    fi
    run_without_engine
}

image_wanted=yes
if [[ ${1:-} == --no-image ]]; then
    image_wanted=no
    shift
fi
(($# == 1)) || fail "usage: tests/deploy.sh [--no-image] PATH_TO_BINARY"
[[ -x $1 && -f $1 ]] || fail "$1 is not there or not executable: build it first"
binary=$(realpath "$1")
for tool in curl jq; do
    command -v "$tool" >/dev/null || fail "$tool is missing: apt-get install $tool"
done
test_unit
test_container
step "both start, get ready and stop as they should"
