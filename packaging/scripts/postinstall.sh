#!/bin/sh
# After the files are there. deb: configure, and the version that was there before;
# rpm: 1 for an installation, 2 for an upgrade.
set -e

case "$1" in
configure)
	what=upgrade
	# Also where it was removed and not purged: $2 is the version of then.
	if [ -z "$2" ] || [ -e /var/lib/kita/.removed ]; then
		what=deb-install
		rm -f /var/lib/kita/.removed
	fi
	;;
1) what=rpm-install ;;
2) what=upgrade ;;
*) exit 0 ;;
esac

running_systemd() { [ -d /run/systemd/system ]; }

if running_systemd; then
	systemctl daemon-reload || true
fi

case $what in
deb-install)
	# As Debian does it: enabled, and started unless policy-rc.d forbids it. There is no
	# child yet, and the mode is quiet: nothing runs that nobody asked for.
	deb-systemd-helper enable kita.service >/dev/null || true
	if running_systemd; then
		deb-systemd-invoke start kita.service || echo "kita could not be started: systemctl status kita" >&2
	fi
	;;
rpm-install)
	# As Fedora does it: the distribution's presets decide, and nothing is started.
	if command -v systemctl >/dev/null 2>&1; then
		systemctl --no-reload preset kita.service >/dev/null 2>&1 || true
	fi
	;;
upgrade)
	# The new binary takes the running server's place: same PID, and the children live
	# on. One that cannot read the state is refused; then the old one goes on.
	if running_systemd && systemctl --quiet is-active kita.service; then
		status=0
		/usr/bin/kita upgrade --timeout 60s || status=$?
		# Its socket is elsewhere: systemd knows the process.
		if [ "$status" = 4 ]; then
			status=0
			systemctl reload kita.service || status=$?
		fi
		if [ "$status" != 0 ]; then
			echo "the former kita goes on: once the cause is gone, kita upgrade" >&2
		fi
	fi
	;;
esac
exit 0
