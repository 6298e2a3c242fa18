#!/bin/sh
# After the files are gone. deb: remove, and purge some time later; rpm: 0.
# A purge, which rpm has not, removes what kita wrote itself: its state and the output
# of the children. What you put into /etc/kita/children and /etc/kita/keys stays.
set -e

if [ -d /run/systemd/system ]; then
	systemctl daemon-reload || true
fi

case "$1" in
remove)
	# For the postinst, which is not told the difference from an upgrade.
	mkdir -p /var/lib/kita
	: >/var/lib/kita/.removed
	;;
purge)
	rm -rf /var/lib/kita /run/kita /var/log/kita
	deb-systemd-helper purge kita.socket kita.service >/dev/null 2>&1 || true
	# deb-systemd-helper knows what it enabled itself; the socket is enabled by hand.
	wanted=/etc/systemd/system/sockets.target.wants
	if [ -L "$wanted/kita.socket" ] && [ ! -e "$wanted/kita.socket" ]; then
		rm -f "$wanted/kita.socket"
		rmdir "$wanted" 2>/dev/null || true
	fi
	;;
esac
exit 0
