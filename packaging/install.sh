#!/bin/sh
# Installs yolowatch as a service: the program with its own site-packages, units, manual, completion.
#
#     packaging/install.sh WHEEL
#
# Into $DESTDIR (default: this machine), beneath $PREFIX (default: /usr/local), the configuration in
# $SYSCONFDIR (default: /etc). $TARGET_PYTHON is the interpreter that will run it; $BUILD_PYTHON has
# yolowatch and what its extra `package` names. Nothing is enabled or started; a configuration that is there already stays.
set -eu

wheel=$1
here=$(cd "$(dirname "$0")/.." && pwd)
PREFIX=${PREFIX:-/usr/local}
SYSCONFDIR=${SYSCONFDIR:-/etc}
DESTDIR=${DESTDIR:-}
TARGET_PYTHON=${TARGET_PYTHON:-/usr/bin/python3}
BUILD_PYTHON=${BUILD_PYTHON:-$here/.venv/bin/python}
lib=$PREFIX/lib/yolowatch
root=$DESTDIR$lib

# A virtual environment by hand: `venv` would write the paths of this build into it.
rm -rf "$root"
version=$("$TARGET_PYTHON" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
packages=$lib/lib/python$version/site-packages
mkdir -p "$DESTDIR$packages" "$root/bin" "$DESTDIR$PREFIX/bin"
printf 'home = %s\ninclude-system-site-packages = false\nversion = %s\n' \
    "$(dirname "$TARGET_PYTHON")" "$version" >"$root/pyvenv.cfg"
ln -s "$TARGET_PYTHON" "$root/bin/python"
"$BUILD_PYTHON" -m pip --disable-pip-version-check --quiet install --no-compile --no-warn-script-location \
    --python-version "$version" --only-binary=:all: --implementation cp \
    --target "$DESTDIR$packages" "$wheel[notify,otlp]"
rm -rf "$DESTDIR$packages/bin" "$DESTDIR$packages"/*.dist-info/direct_url.json

for name in yolowatch yolowatch-helper; do
    case $name in
        yolowatch) module=yolowatch.commands.main ;;
        *) module=yolowatch.hands.helper.program ;;
    esac
    printf '#!%s/bin/python -I\nimport sys\n\nfrom %s import main\n\nsys.exit(main())\n' \
        "$lib" "$module" >"$root/bin/$name"
    chmod 755 "$root/bin/$name"
    ln -sf "../lib/yolowatch/bin/$name" "$DESTDIR$PREFIX/bin/$name"
done
install -m 755 "$here/systemd/keep-stopped" "$root/keep-stopped"
ln -s "lib/python$version/site-packages/yolowatch/hands/starter.py" "$root/starter.py"
# The service cannot write its caches; they are made here, and believed without a look at the clock.
"$TARGET_PYTHON" -m compileall -q --invalidation-mode unchecked-hash \
    -s "$DESTDIR" "$DESTDIR$packages"

# file, folder, name there
place() {
    mkdir -p "$DESTDIR$2"
    sed -e "s|/usr/lib/yolowatch|$lib|g" -e "s|/usr/bin/yolowatch|$PREFIX/bin/yolowatch|g" \
        -e "s|/etc/yolowatch|$SYSCONFDIR/yolowatch|g" "$1" >"$DESTDIR$2/$3"
    chmod 644 "$DESTDIR$2/$3"
}
for unit in "$here"/systemd/*.service "$here"/systemd/*.socket; do
    place "$unit" "$PREFIX/lib/systemd/system" "${unit##*/}"
done
place "$here/systemd/yolowatch.sysusers" "$PREFIX/lib/sysusers.d" yolowatch.conf
place "$here/systemd/yolowatch.tmpfiles" "$PREFIX/lib/tmpfiles.d" yolowatch.conf
place "$here/systemd/yolowatch.yaml" "$PREFIX/share/yolowatch" yolowatch.yaml
if [ ! -e "$DESTDIR$SYSCONFDIR/yolowatch/yolowatch.yaml" ]; then
    place "$here/systemd/yolowatch.yaml" "$SYSCONFDIR/yolowatch" yolowatch.yaml
fi
"$BUILD_PYTHON" "$here/packaging/manual.py" "$DESTDIR$PREFIX"

if [ -z "$DESTDIR" ] && [ -d /run/systemd/system ]; then
    systemd-sysusers yolowatch.conf
    systemd-tmpfiles --create yolowatch.conf
    systemctl daemon-reload
    echo "Installed. Start it: systemctl enable --now yolowatch.socket yolowatch-helper.socket \\"
    echo "    yolowatch-starter.socket yolowatch.service; then see: yolowatch doctor"
fi
