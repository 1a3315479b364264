#!/bin/sh
# Takes away what install.sh placed, with the same $DESTDIR, $PREFIX and $SYSCONFDIR. Trainings go on.
# The configuration and the journal stay, unless $PURGE is set.
set -eu

PREFIX=${PREFIX:-/usr/local}
SYSCONFDIR=${SYSCONFDIR:-/etc}
DESTDIR=${DESTDIR:-}
units="yolowatch.service yolowatch.socket yolowatch-helper.service yolowatch-helper.socket
    yolowatch-starter.socket"

if [ -z "$DESTDIR" ] && [ -d /run/systemd/system ]; then
    # shellcheck disable=SC2086
    systemctl disable --now $units 2>/dev/null || true
fi
rm -rf "$DESTDIR$PREFIX/lib/yolowatch" "$DESTDIR$PREFIX/share/yolowatch"
rm -f "$DESTDIR$PREFIX/bin/yolowatch" "$DESTDIR$PREFIX/bin/yolowatch-helper" \
    "$DESTDIR$PREFIX/lib/sysusers.d/yolowatch.conf" \
    "$DESTDIR$PREFIX/lib/tmpfiles.d/yolowatch.conf" \
    "$DESTDIR$PREFIX"/lib/systemd/system/yolowatch.* \
    "$DESTDIR$PREFIX"/lib/systemd/system/yolowatch-helper.* \
    "$DESTDIR$PREFIX"/lib/systemd/system/yolowatch-starter* \
    "$DESTDIR$PREFIX"/share/man/man1/yolowatch.1* \
    "$DESTDIR$PREFIX/share/bash-completion/completions/yolowatch" \
    "$DESTDIR$PREFIX/share/zsh/site-functions/_yolowatch" \
    "$DESTDIR$PREFIX/share/fish/vendor_completions.d/yolowatch.fish"
if [ -n "${PURGE:-}" ]; then
    rm -rf "$DESTDIR$SYSCONFDIR/yolowatch" "$DESTDIR/var/lib/yolowatch" \
        "$DESTDIR/var/lib/yolowatch-helper" "$DESTDIR/run/yolowatch" "$DESTDIR/run/yolowatch-helper"
fi
if [ -z "$DESTDIR" ] && [ -d /run/systemd/system ]; then
    systemctl daemon-reload
fi
