# shellcheck shell=bash
# What building and checking the image share. Sourced after install.sh, from the root of the repository.

target_folder="${CARGO_TARGET_DIR:-$PWD/target}"
image_folder="${ADYTON_IMAGE_DIR:-$PWD/target/image}"
# shellcheck disable=SC2034
image_packages="$image_folder/packages/unpacked"
image_tool="${ADYTON_IMAGE_TOOL:-$target_folder/release/adyton-image}"
target=x86_64-unknown-linux-gnu

# With the whole workspace, so that what `cargo build --workspace` has built serves here too.
build_image_tool() {
    [ -z "${ADYTON_IMAGE_TOOL:-}" ] || return 0
    cargo build --quiet --release --locked --workspace --bins
}

# The policy's packages, by name and version from apt, checked by digest, unpacked.
need_image_packages() {
    local folder="$image_folder/packages" suite name version digest file path
    if [ ! -f "$folder/ready" ] || [ "$("$image_tool" packages)" != "$(cat "$folder/ready")" ]; then
        rm -rf "$folder"
        mkdir -p "$folder/unpacked"
        while read -r suite name version digest; do
            download "$folder" "$suite" "$name" "$version"
            file=$(find "$folder" -maxdepth 1 -name "${name}_*.deb")
            if ! printf '%s  %s\n' "$digest" "$file" | sha256sum --check --quiet; then
                say "$name $version is not the package that enclave/image/policy.toml names"
                return 1
            fi
            dpkg-deb --extract "$file" "$folder/unpacked"
        done < <("$image_tool" packages)
        "$image_tool" packages >"$folder/ready"
    fi
    # Modules are signed as they are inside their compression.
    while read -r path; do
        if [ ! -f "$folder/unpacked/$path" ] && [ -f "$folder/unpacked/$path.xz" ]; then
            xz --decompress "$folder/unpacked/$path.xz"
        fi
    done < <("$image_tool" files)
}

# What download ends with when the archive has the pinned version no more (EX_UNAVAILABLE of sysexits.h).
gone=69

# download FOLDER SUITE NAME VERSION: one package of a suite of Debian, with an apt state of its own, so that the
# machine's sources stay as they are. Apt checks the archive's signature.
download() {
    local folder="$1" suite="$2" name="$3" version="$4" state="$1/apt-$2" mirror options
    command -v apt-get >/dev/null 2>&1 || { say "apt-get is needed to fetch $name $version of Debian"; return 1; }
    # shellcheck disable=SC2016
    mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' | head -n 1)
    [ -n "$mirror" ] || {
        say "apt knows no mirror of Debian: name one in its sources and run apt-get update"
        return 1
    }
    mkdir -p "$state/lists/partial"
    printf 'deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] %s %s main\n' "$mirror" "$suite" \
        >"$state/sources.list"
    options=(-qq -o "Dir::Etc::SourceList=$state/sources.list" -o Dir::Etc::SourceParts=/dev/null
        -o "Dir::State::lists=$state/lists" -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache= -o APT::Sandbox::User=root)
    [ -n "$(find "$state/lists" -name '*Packages*')" ] || apt-get "${options[@]}" update >&2
    (cd "$folder" && apt-get "${options[@]}" download "$name=$version" >&2) || {
        say "apt has no $name $version in $suite any more: pin the newer one in enclave/image/policy.toml"
        return "$gone"
    }
}

# need_firmware FILE: OVMF that boots without SEV and has the section of SEV-SNP's kernel hashes, for simulated machines.
# It is no part of the image: on real hosts it is the host's, and measured.
need_firmware() {
    local folder="$image_folder/firmware" file
    if [ ! -f "$folder/OVMF.fd" ]; then
        rm -rf "$folder"
        mkdir -p "$folder"
        download "$folder" forky ovmf-generic "2026.08+ds-2"
        file=$(find "$folder" -maxdepth 1 -name 'ovmf-generic_*.deb')
        printf '05c1593998ba58700ff86c062bde306321af1f5a2943ea9ceef6c2332f3f3374  %s\n' "$file" |
            sha256sum --check --quiet || { say "ovmf-generic is another package than the one that is pinned"; return 1; }
        dpkg-deb --extract "$file" "$folder/unpacked"
        cp "$folder/unpacked/usr/share/ovmf/OVMF.fd" "$folder/OVMF.fd"
    fi
    cp "$folder/OVMF.fd" "$1"
}

# static_binary PACKAGE: sets `binary`. Nothing of where it is built is in it: paths are replaced, nothing is stripped
# later, and the C compiler gets the same treatment.
static_binary() {
    local home="${CARGO_HOME:-$HOME/.cargo}" sysroot flags
    sysroot=$(rustc --print sysroot)
    flags="-C target-feature=+crt-static -C strip=symbols -C debuginfo=0"
    flags+=" --remap-path-prefix=$PWD=/adyton --remap-path-prefix=$home=/cargo --remap-path-prefix=$sysroot=/rust"
    flags+=" --remap-path-prefix=$target_folder=/target"
    RUSTFLAGS="$flags" SOURCE_DATE_EPOCH=1 ZERO_AR_DATE=1 \
        CFLAGS="-g0 -ffile-prefix-map=$PWD=/adyton -ffile-prefix-map=$home=/cargo -ffile-prefix-map=$target_folder=/target" \
        cargo build --quiet --release --locked --target "$target" --package "$1" --bin "$1"
    # shellcheck disable=SC2034
    binary="$target_folder/$target/release/$1"
}

# kernel_entry: sets `entry`, the code before the kernel of a direct boot. It links without any library, so that nothing in
# it can panic, and without a red zone, which firmware's interrupts would write over.
kernel_entry() {
    local object="$target_folder/entry.o"
    mkdir -p "$image_folder"
    cargo rustc --quiet --release --locked --target "$target" --package adyton-entry --lib --features firmware -- \
        -C relocation-model=pie -C codegen-units=1 -C opt-level=s -C panic=abort -C no-redzone=yes -C debuginfo=0 \
        "--remap-path-prefix=$PWD=/adyton" "--emit=obj=$object"
    ld -pie --no-dynamic-linker -z norelro --no-warn-rwx-segments --gc-sections -T enclave/entry/entry.ld \
        -o "$target_folder/entry.elf" "$object"
    # shellcheck disable=SC2034
    entry="$image_folder/entry.bin"
    objcopy -O binary --only-section=.entry "$target_folder/entry.elf" "$entry"
}
