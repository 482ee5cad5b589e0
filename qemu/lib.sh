# SPDX-License-Identifier: GPL-2.0
# Shared by the scripts in this directory; sourced, never run.
# shellcheck shell=bash

set -euo pipefail

QEMU_DIR=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
TOP=$(dirname -- "$QEMU_DIR")

# Where everything that is fetched or prepared once is kept.
: "${DM_RUST_CACHE:=${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/dm-rust}"
# Which kernel: a name in qemu/kernels/.
: "${KERNEL:=backports}"
# Whom the files made in the checkout belong to: the caller; for root, the owner of the checkout.
if [[ -z ${DM_RUST_UID:-} ]]; then
    if [[ $(id -u) -eq 0 ]]; then
        DM_RUST_UID=$(stat -c %u "$TOP") DM_RUST_GID=$(stat -c %g "$TOP")
    else
        DM_RUST_UID=$(id -u) DM_RUST_GID=$(id -g)
    fi
fi
export DM_RUST_CACHE KERNEL DM_RUST_UID DM_RUST_GID

# ---- what the user sees -------------------------------------------------------------------------

# A terminal gets colours and a line that is updated in place; a log gets a line now and then.
if [[ -t 2 && ${TERM:-dumb} != dumb && -z ${CI:-} ]]; then LIVE=1; else LIVE=; fi
if [[ -n $LIVE && -z ${NO_COLOR:-} ]]; then
    BOLD=$'\e[1m' RED=$'\e[31m' GREEN=$'\e[32m' DIM=$'\e[2m' PLAIN=$'\e[0m'
else
    BOLD='' RED='' GREEN='' DIM='' PLAIN=''
fi

say() { printf '%s\n' "$*" >&2; }

# die MESSAGE [ADVICE]: ends the script; the advice says what to do next.
die() {
    printf '%serror:%s %s\n' "$RED$BOLD" "$PLAIN" "$1" >&2
    if [[ $# -gt 1 ]]; then printf '       %s\n' "$2" >&2; fi
    exit 1
}

# Seconds between two values of EPOCHREALTIME, with one decimal.
elapsed() {
    local us=$((${2/[.,]/} - ${1/[.,]/}))
    printf '%d.%d' $((us / 1000000)) $((us % 1000000 / 100000))
}

log_dir() {
    local dir=$DM_RUST_CACHE/log
    mkdir -p "$dir"
    printf '%s' "$dir"
}

# Jobs: a title, a command whose output goes to a log, and the time it took.
declare -A JOB_TITLE=() JOB_PID=() JOB_LOG=() JOB_START=()

# job NAME TITLE COMMAND...: starts the command in the background.
job() {
    local name=$1 title=$2
    shift 2
    JOB_TITLE[$name]=$title
    JOB_LOG[$name]=$(mktemp "$(log_dir)/$name.XXXXXX")
    JOB_START[$name]=$EPOCHREALTIME
    # A process group of its own, so that all of it can be ended.
    set -m
    DM_RUST_IN_JOB=1 "$@" >"${JOB_LOG[$name]}" 2>&1 </dev/null &
    JOB_PID[$name]=$!
    set +m
    [[ -n $LIVE ]] || say "... $title"
}

# Ctrl-C, a failure, whatever ends the script ends what it has started.
end_jobs() {
    local signal pid left
    for signal in TERM KILL; do
        for _ in {1..30}; do
            left=''
            for pid in "${JOB_PID[@]}"; do
                if kill -0 "$pid" 2>/dev/null; then left+=" $pid"; fi
            done
            [[ -n $left ]] || return 0
            for pid in $left; do as_root kill -"$signal" -- -"$pid" 2>/dev/null || true; done
            sleep 0.2
        done
    done
}
trap end_jobs EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

# The last line of a log that says something, cut to the width of the terminal.
last_words() {
    local line
    line=$(tail -c 2000 "$1" 2>/dev/null | tr '\r' '\n' | grep -v '^[[:space:]]*$' | tail -n 1) || line=
    printf '%s' "${line:0:$2}"
}

# join_jobs NAME...: waits for jobs, shows how far they are, and ends the script when one fails.
join_jobs() {
    local -a open=("$@") next
    local name status ticks=0 width line failure=''
    while ((${#open[@]})); do
        next=()
        for name in "${open[@]}"; do
            if kill -0 "${JOB_PID[$name]}" 2>/dev/null; then
                next+=("$name")
                continue
            fi
            status=0
            wait "${JOB_PID[$name]}" || status=$?
            [[ -z $LIVE ]] || printf '\r\e[K' >&2
            line=$(elapsed "${JOB_START[$name]}" "$EPOCHREALTIME")
            if ((status)); then
                say "${RED}failed${PLAIN} ${JOB_TITLE[$name]} (after $line s). The last lines it printed:"
                tail -n 40 "${JOB_LOG[$name]}" | sed 's/^/    /' >&2
                failure="${JOB_TITLE[$name]}: exit status $status. The whole log is ${JOB_LOG[$name]}"
                # The others are let finish: what they make is kept for the next time.
                continue
            fi
            say "$(printf '%s%6s s%s  %s' "$GREEN" "$line" "$PLAIN" "${JOB_TITLE[$name]}")"
            rm -f "${JOB_LOG[$name]}"
        done
        open=("${next[@]}")
        ((${#open[@]})) || break
        if [[ -n $LIVE ]]; then
            name=${open[$((ticks / 8 % ${#open[@]}))]}
            width=$(tput cols 2>/dev/null || echo 80)
            line=$(printf '%6s s  %s' "$(elapsed "${JOB_START[$name]}" "$EPOCHREALTIME")" "${JOB_TITLE[$name]}")
            printf '\r\e[K%s %s%s%s' "${line:0:width-1}" "$DIM" \
                "$(last_words "${JOB_LOG[$name]}" $((width > ${#line} + 2 ? width - ${#line} - 2 : 0)))" "$PLAIN" >&2
        elif ((ticks % 80 == 79)); then
            for name in "${open[@]}"; do
                say "$(printf '%6.0f s  %s, still at it: %s' "$(elapsed "${JOB_START[$name]}" "$EPOCHREALTIME")" \
                    "${JOB_TITLE[$name]}" "$(last_words "${JOB_LOG[$name]}" 90)")"
            done
        fi
        ticks=$((ticks + 1))
        sleep 0.25
    done
    [[ -z $failure ]] || die "$failure"
}

# step TITLE COMMAND...: one job, waited for. Inside another job its output is that job's, whose last line is shown.
step() {
    local title=$1
    shift
    if [[ -n ${DM_RUST_IN_JOB:-} ]]; then
        "$@"
        return
    fi
    job step "$title" "$@"
    join_jobs step
}

# Removes what Kbuild leaves among the sources when it builds in place; the module itself stays.
clean_in_place() {
    find "$TOP" \( -path "$TOP/.git" -o -path "$TOP/build" \) -prune -o -type f \( -name '*.o' -o -name '*.mod' \
        -o -name '*.mod.c' -o -name '.*.cmd' -o -name '*.rmeta' -o -name '*.o.d' \) -exec rm -f {} +
    rm -f "$TOP"/{Module.symvers,modules.order} "$TOP/rust/bindings/generated.rs"
}

# ---- becoming root ------------------------------------------------------------------------------

# The variables that a command run by sudo still needs.
PASS_VARIABLES=(DM_RUST_CACHE DM_RUST_UID DM_RUST_GID KERNEL CI NO_COLOR TERM COLUMNS LINES
    http_proxy https_proxy ftp_proxy no_proxy all_proxy HTTP_PROXY HTTPS_PROXY NO_PROXY ALL_PROXY
    SSL_CERT_FILE ACCEL CPUS MEM TIMEOUT QEMU_ARGS KERNEL_ARGS TARGET)

# Prints NAME=VALUE, NUL-terminated, for each variable that is set: these, and cargo's ways to the network.
passed_environment() {
    local name
    for name in "${PASS_VARIABLES[@]}" $(compgen -e | grep -E '^CARGO_(HTTP|NET|REGISTR|SOURCE)' || true); do
        if [[ -n ${!name+set} ]]; then printf '%s=%s\0' "$name" "${!name}"; fi
    done
}

as_root() {
    if [[ $(id -u) -eq 0 ]]; then
        "$@"
        return
    fi
    local -a environment
    mapfile -d '' -t environment < <(passed_environment)
    sudo env "${environment[@]}" "$@"
}

# Asks for the password once, before the work starts, rather than in the middle of it.
need_root() {
    [[ $(id -u) -eq 0 ]] && return
    command -v sudo >/dev/null ||
        die "this needs root (to make a root file system and mount it), and there is no sudo here" \
            "Install sudo, or run the same command as root: what is built then still belongs to the checkout's owner."
    sudo -n true 2>/dev/null || {
        say "Root is needed to make a root file system and mount it; sudo asks for your password."
        sudo -v || die "sudo did not let you become root" "Run the same command as root."
    }
}

# ---- caches -------------------------------------------------------------------------------------

# The cache is marked, so that nothing else is ever taken for it and removed; the tag also keeps backups out.
make_cache() {
    mkdir -p "$DM_RUST_CACHE/log" "$DM_RUST_CACHE/lock"
    [[ -e $DM_RUST_CACHE/CACHEDIR.TAG ]] || printf '%s\n' \
        'Signature: 8a477f597d28d172789f06886806bc55' '# Made by dm-rust; "make distclean" removes it.' \
        >"$DM_RUST_CACHE/CACHEDIR.TAG"
}

# What a choice of kernel follows from; another checkout that shares the cache may choose otherwise.
selection_file() {
    local recipe=$QEMU_DIR/kernels/$KERNEL
    [[ -r $recipe ]] || die "there is no kernel called '$KERNEL'" "KERNEL is one of: $(cd "$QEMU_DIR/kernels" && echo *)"
    local config parts=("$recipe" "$QEMU_DIR"/{packages,select-kernel,setup-root,setup-kernel})
    config=$(sed -n 's/^CONFIG=//p' "$recipe")
    [[ -z $config ]] || parts+=("$QEMU_DIR/configs/$config" "$QEMU_DIR/configs/base")
    printf '%s/selected-%s-%s' "$DM_RUST_CACHE" "$KERNEL" "$(cat "${parts[@]}" | sha256sum | cut -c 1-12)"
}

# What select-kernel found: sets SUITE, RELEASE, VERSION, SOURCE, ROOT_KEY, KERNEL_KEY, PACKAGES,
# and, where the kernel is built here, CONFIG and CLANG.
load_selection() {
    local file
    file=$(selection_file)
    [[ -r $file ]] || die "no kernel has been chosen yet" "Run 'make setup' first."
    # shellcheck source=/dev/null
    . "$file"
    ROOT=$DM_RUST_CACHE/root-$ROOT_KEY
    KERNEL_TREE=$DM_RUST_CACHE/kernel-$KERNEL_KEY
    export ROOT KERNEL_TREE
}

# with_lock NAME COMMAND...: one at a time; says so when it has to wait.
with_lock() {
    local file=$DM_RUST_CACHE/lock/$1 fd
    shift
    exec {fd}>"$file"
    flock -n "$fd" || {
        say "waiting for another run that is at it (lock: $file)"
        flock "$fd"
    }
    "$@"
    exec {fd}>&-
}
