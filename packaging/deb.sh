#!/bin/sh
# Builds the Debian package from a wheel: packaging/deb.sh WHEEL FOLDER; prints the package's path.
#
# It carries its own site-packages, so that nothing is fetched where it is installed; those hold
# compiled code, so that it is for the architecture and the python3 that it was built with. Built
# with dpkg-deb alone: debhelper's Python rules would spread the libraries over the system's.
set -eu

wheel=$1 folder=$2
here=$(cd "$(dirname "$0")" && pwd)
TARGET_PYTHON=${TARGET_PYTHON:-/usr/bin/python3}
root=$folder/root
rm -rf "$root"
mkdir -p "$root/DEBIAN"
DESTDIR=$root PREFIX=/usr SYSCONFDIR=/etc "$here/install.sh" "$wheel"

name=${wheel##*/yolowatch-}
version=${name%%-*}
python=$("$TARGET_PYTHON" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
next=$("$TARGET_PYTHON" -c 'import sys; print("%d.%d" % (sys.version_info[0], sys.version_info[1] + 1))')
architecture=$(dpkg --print-architecture)
documents=$root/usr/share/doc/yolowatch
mkdir -p "$documents"
cp "$here/debian/copyright" "$documents/copyright"
gzip -9nc "$here/../CHANGELOG.md" >"$documents/changelog.gz"

size=$(du -sk --exclude=DEBIAN "$root" | cut -f1)
sed -e "s/@VERSION@/$version/" -e "s/@ARCHITECTURE@/$architecture/" -e "s/@PYTHON@/$python/" \
    -e "s/@NEXT_PYTHON@/$next/" -e "s/@SIZE@/$size/" "$here/debian/control.in" >"$root/DEBIAN/control"
echo /etc/yolowatch/yolowatch.yaml >"$root/DEBIAN/conffiles"
for script in postinst prerm postrm; do
    install -m 755 "$here/debian/$script" "$root/DEBIAN/$script"
done
(cd "$root" && find etc usr -type f -exec md5sum {} + | sort -k2) >"$root/DEBIAN/md5sums"
chmod -R go-w "$root"
package=$folder/yolowatch_${version}_${architecture}.deb
dpkg-deb --root-owner-group -Zxz --build "$root" "$package" >/dev/null
rm -rf "$root"
echo "$package"
