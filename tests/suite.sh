# SPDX-License-Identifier: GPL-2.0
# Runs the scripts of another project's test suite: sourced in the guest by what knows the suite.
# shellcheck shell=bash

# patient SECONDS: what a script is given here. Kernels that watch all that they do are much slower.
patient() {
    local seconds=$1
    if [[ -e /sys/kernel/debug/kmemleak || -e /sys/kernel/debug/kcsan ]]; then seconds=$((5 * seconds)); fi
    printf '%d' "$seconds"
}

passed=0 failed=() skipped=()

# run_script SUITE SCRIPT SKIPPED SECONDS COMMAND...: runs one, for so long at most; SKIPPED is the exit status of one that says
# that it cannot be run here. What it prints goes to SCRIPT.log.
run_script() {
    local suite=$1 script=$2 skip=$3 limit=$4 start=$SECONDS status=0 log
    shift 4
    log=${script##*/}.log
    printf 'test %s::%s ' "$suite" "${script##*/}"
    timeout --kill-after=10 "$limit" "$@" >"$log" 2>&1 </dev/null || status=$?
    case $status in
    0)
        passed=$((passed + 1))
        printf '... ok (%d s%s)\n' $((SECONDS - start)) "$(said "$log")"
        ;;
    "$skip")
        skipped+=("$script")
        printf '... ignored: %s\n' "$(why "$log")"
        ;;
    *)
        failed+=("$script")
        printf '... FAILED: exit status %d after %d s\n' "$status" $((SECONDS - start))
        trouble "$log" | sed 's/^/    /'
        ;;
    esac
}

# What a suite may say otherwise: how much a script that passed has done, why one was skipped, and what was wrong.
said() { :; }
why() { tail -n 1 "$1"; }
trouble() { tail -n 25 "$1"; }

# result WHO: prints the sum, and fails if something failed or nothing was run.
result() {
    local result=ok
    ((${#failed[@]} == 0)) || result=FAILED
    printf '\nWith %s.\ntest result: %s. %d passed; %d failed; %d ignored\n' "$1" "$result" "$passed" "${#failed[@]}" \
        "${#skipped[@]}"
    ((passed > 0 && ${#failed[@]} == 0))
}
