#!/usr/bin/env bash
# One self-contained binary and a Debian package, in dist/. The binary is linked statically and
# has the pages inside, so that it runs wherever the kernel is Linux.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

need_tools
install_missing run
install_missing dist
scripts/web.sh

target=$(rustc -vV | sed -n 's/^host: //p')
version=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -1)
arch=$(dpkg --print-architecture)
say "building stackvm $version for $target"
# Naming the target keeps static linking away from procedural macros, which cannot be static.
RUSTFLAGS="${RUSTFLAGS:-} -C target-feature=+crt-static" \
    cargo build --release --locked --target "$target" -p stackvm-cli --bin stackvm

rm -rf dist
root=dist/deb
mkdir -p "$root/DEBIAN" "$root/usr/bin" "$root/usr/share/doc/stackvm"
built="${CARGO_TARGET_DIR:-target}/$target/release/stackvm"
strip -o "$root/usr/bin/stackvm" "$built"
chmod 755 "$root/usr/bin/stackvm"
cp "$root/usr/bin/stackvm" dist/stackvm

cat LICENSE-MIT LICENSE-APACHE >"$root/usr/share/doc/stackvm/copyright"
gzip -9n <CHANGELOG.md >"$root/usr/share/doc/stackvm/changelog.gz"
cp README.md "$root/usr/share/doc/stackvm/"
cat >"$root/DEBIAN/control" <<EOF
Package: stackvm
Version: $version
Architecture: $arch
Maintainer: The StackVM authors <stackvm@localhost>
Installed-Size: $(du -sk --exclude=DEBIAN "$root" | cut -f1)
Depends: apt, debian-archive-keyring
Recommends: passt
Section: otherosfs
Priority: optional
Description: deterministic RISC-V virtual machines in terminal and browser
 Boots Debian on a virtual RISC-V computer whose every run is repeatable to the
 instruction, and puts its prompt into a terminal or a browser.
EOF
dpkg-deb --root-owner-group --build "$root" "dist/stackvm_${version}_$arch.deb"
rm -rf "$root"
say "dist/ holds:"
ls -l dist
