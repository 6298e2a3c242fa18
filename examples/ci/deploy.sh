#!/bin/sh
# Brings the child files of a directory to hosts, and has what changed started
# anew. What was stopped stays so, and a job that has ended with success is run again
# only if it changed. Both pipelines beside it call this one script:
#
#   deploy.sh validate DIR     are the files legal? Needs no server
#   deploy.sh deploy DIR       copy them, show what differs, start that anew
#
# The exit status is that of kita, see "From CI" in docs/commands.md, and 1 where
# a copy failed. A file that is no longer in DIR stays on the hosts: to stop a child
# and to remove its file is nothing that a forgotten line should do.
set -eu

# For deploy:
#   HOSTS         the servers, as after `on`: 10.0.0.1,10.0.0.2 or @web
#   DESTINATIONS  where rsync puts the files, a word for each host, in any order:
#                 ops@10.0.0.1:/etc/kita/children/
#   KEY           a private key for the servers; none for those without encryption
#   HOSTS_FILE    a hosts.yml, for groups like @web
#   WAIT          what each child has to come to
#   TIMEOUT       how long each host may take
#   MAX_UNAVAILABLE  how many hosts are changed at a time
: "${HOSTS:=}" "${DESTINATIONS:=}" "${KEY:=}" "${HOSTS_FILE:=}"
: "${WAIT:=stable=10s}" "${TIMEOUT:=60s}" "${MAX_UNAVAILABLE:=1}"

fail() {
	echo "deploy.sh: $1" >&2
	exit 2
}

validate() {
	for file in "$1"/*.yml; do
		[ -e "$file" ] || fail "no child files in $1"
	done
	kita validate "$1"/*.yml
}

deploy() {
	[ -n "$HOSTS" ] || fail "HOSTS is not set"
	[ -n "$DESTINATIONS" ] || fail "DESTINATIONS is not set"
	# Whom to ask, and how.
	set -- "$1" on "$HOSTS"
	[ -z "$KEY" ] || set -- "$@" with "$KEY"
	[ -z "$HOSTS_FILE" ] || set -- "$@" --hosts-file "$HOSTS_FILE"
	dir=$1
	shift

	# rsync puts a file in its place at once, so that no server reads half of one.
	for destination in $DESTINATIONS; do
		rsync --recursive --checksum --include='*.yml' --exclude='*' "$dir"/ "$destination" || {
			# Its own status would be taken for one of kita's.
			echo "deploy.sh: cannot copy to $destination" >&2
			exit 1
		}
	done
	kita diff "$@"
	kita trystart all --if-changed --wait "$WAIT" --timeout "$TIMEOUT" --max-unavailable "$MAX_UNAVAILABLE" "$@"
}

[ $# -eq 2 ] || fail "use: deploy.sh validate|deploy DIR"
[ -d "$2" ] || fail "$2 is no directory"
case $1 in
validate) validate "$2" ;;
deploy)
	validate "$2"
	deploy "$2"
	;;
*) fail "use: deploy.sh validate|deploy DIR" ;;
esac
