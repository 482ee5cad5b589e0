# SPDX-License-Identifier: GPL-2.0
# Test suites of other projects: sourced by what runs one, after lib.sh.
# shellcheck shell=bash

# fetch_suite NAME PACKAGE DIRECTORY PROGRAM...: has in `build/NAME-suite`, where the guest sees it, the directory of tests in
# the source of a package that the guest has, in the version that it has; and in `programs` there what the suite uses and
# nothing else here does.
fetch_suite() {
    local name=$1 package=$2 directory=$3
    shift 3
    local source version suite copy=$TOP/build/$name-suite
    # shellcheck disable=SC2016
    read -r source version < <(as_root chroot "$ROOT" dpkg-query --show \
        --showformat='${source:Package} ${source:Version}\n' "$package")
    suite=$DM_RUST_CACHE/$name-suite-$(printf '%s\n' "$version" "$directory" "$@" | sha256sum | cut -c 1-12)
    step "Fetch the source package of $source $version" \
        with_lock "source-$name" fetch_source "$suite" "$source" "$version" "$directory" "$@"
    mkdir -p "$TOP/build"
    rm -rf "$copy"
    cp -r --no-preserve=ownership "$suite/suite" "$copy"
    [[ $(id -u) -ne 0 ]] || chown -R "$DM_RUST_UID:$DM_RUST_GID" "$copy"
}

fetch_source() {
    local suite=$1 source=$2 version=$3 directory=$4
    shift 4
    [[ ! -d $suite ]] || return 0
    local apt=$DM_RUST_CACHE/apt-$KERNEL new=$suite.new
    as_root rm -rf "$new"
    as_root mkdir -p "$new/lists/partial"
    sed 's/^deb /deb-src /' "$apt/sources.list" | as_root tee "$new/sources.list" >/dev/null
    local options=(-o "Dir::Etc::sourcelist=$new/sources.list" -o "Dir::State::lists=$new/lists")
    as_root env APT_CONFIG="$apt/apt.conf" apt-get "${options[@]}" --quiet update
    # Unpacked by tar: dpkg-source need not be on this machine.
    # shellcheck disable=SC2016
    as_root env APT_CONFIG="$apt/apt.conf" sh -c 'cd "$1" && shift && exec apt-get "$@"' sh "$new" \
        "${options[@]}" --quiet --download-only source "$source=$version"
    as_root mkdir "$new/suite"
    as_root tar -xf "$new/${source}"_*.orig.tar.* -C "$new/suite" --strip-components=2 --wildcards "*/$directory/*"
    # shellcheck disable=SC2016
    as_root env APT_CONFIG="$apt/apt.conf" sh -c 'cd "$1" && shift && exec apt-get --quiet download "$@"' sh "$new" "$@"
    local deb
    for deb in "$new"/*.deb; do as_root dpkg-deb --extract "$deb" "$new/suite/programs"; done
    as_root rm -rf "$new/lists" "$new/${source}"_* "$new"/*.deb
    as_root mv "$new" "$suite"
}
