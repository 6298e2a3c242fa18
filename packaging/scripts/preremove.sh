#!/bin/sh
# Before the files go. deb: remove, upgrade, ...; rpm: 0 for the removal, 1 for an
# upgrade. An upgrade touches nothing: what runs goes on with the old binary until the
# new one is asked to take its place.
set -e

case "$1" in
remove | 0) ;;
*) exit 0 ;;
esac

if [ -d /run/systemd/system ]; then
	# First, where somebody has enabled it: it would start the service again for whoever
	# connects, now or when there is no service any more. What runs goes on listening.
	if systemctl --quiet is-active kita.socket; then
		systemctl stop kita.socket || true
	fi
	if systemctl --quiet is-active kita.service; then
		# Nobody would look after the children any more, nor know how to stop them: they
		# are stopped, each within its grace. systemctl stop alone leaves them.
		/usr/bin/kita kill --timeout 10m || echo "children may be left running: kita kill did not work" >&2
		# Before systemd starts again what has just ended.
		systemctl stop kita.service || true
	fi
	if [ "$1" = 0 ]; then
		systemctl --no-reload disable kita.socket kita.service >/dev/null 2>&1 || true
	fi
fi
exit 0
