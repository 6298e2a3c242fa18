#!/usr/bin/env bash
# The main job for real: a server on a copy of these examples, in a temporary
# directory and on a port of its own. It fails if anything does not happen that
# should, and leaves nothing behind. Use: demo.sh KITA
set -euo pipefail

binary=$(realpath "${1:?use: demo.sh KITA}")
examples=$(realpath "$(dirname "$0")")
dir=$(mktemp -d "${TMPDIR:-/tmp}/kita-demo.XXXXXX")
server=
export KITA_SOCKET=$dir/run/kita.sock NO_COLOR=1

# Everything the server starts has this in its environment, so it can be told
# from all other processes of the machine.
token=KITA_DEMO=$dir

# started lists the live processes of this demo.
started() {
  local environ entry entries state pid
  for environ in /proc/[0-9]*/environ; do
    pid=${environ//[!0-9]/}
    { mapfile -d '' -t entries <"$environ"; } 2>/dev/null || continue
    for entry in "${entries[@]}"; do
      [[ $entry == "$token" ]] || continue
      { state=$(<"/proc/$pid/stat"); } 2>/dev/null || break
      [[ ${state##*) } == Z* ]] || echo "$pid"
    done
  done
}

cleanup() {
  local status=$? left
  trap - EXIT
  mapfile -t left < <(started)
  if ((${#left[@]})); then
    kill -KILL "${left[@]}" 2>/dev/null || true
  fi
  [[ -z $server ]] || wait "$server" 2>/dev/null || true
  if ((status)); then
    echo "the demo FAILED; the server's log:" >&2
    [[ ! -f $dir/server.log ]] || cat "$dir/server.log" >&2
  fi
  rm -rf "$dir"
  exit "$status"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

kita() { "$binary" "$@"; }
title() { printf '\n── %s\n' "$*"; }
fail() { echo "expected: $*" >&2; exit 1; }

# show runs a command that is to end with a status, and shows it.
show() {
  local want=$1 got=0
  shift
  printf '$ %s\n' "$*"
  "$@" 2>&1 || got=$?
  ((got == want)) || fail "status $want of \`$*\`, got $got"
  ((got == 0)) || printf '(exit status %d)\n' "$got"
}

# json is what a child looks like, in one line without blanks.
json() {
  local text
  text=$(kita check "$1" -o json 2>/dev/null) || [[ $? == 3 ]] || return 1
  text=${text//[[:space:]]/}
  printf '%s' "$text"
}

# await waits, for 20 s at most, until a child's JSON matches a pattern.
await() {
  local child=$1 pattern=$2 seen= end=$((SECONDS + 20))
  while ((SECONDS < end)); do
    seen=$(json "$child") || seen=
    [[ $seen =~ $pattern ]] && return
    sleep 0.05
  done
  fail "$child to match $pattern, it is $seen"
}

pid_of() {
  [[ $(json "$1") =~ \"process\":\{\"pid\":([0-9]+) ]] || fail "$1 to be alive"
  printf '%s' "${BASH_REMATCH[1]}"
}

free_port() {
  local port
  for _ in {1..50}; do
    port=$((20000 + RANDOM % 12000))
    if ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
      printf '%s' "$port"
      return
    fi
  done
  fail "a free port"
}

# serve starts the server and returns when it answers.
serve() {
  local end=$((SECONDS + 20))
  (cd "$dir" && exec env "$token" "$binary" serve server.yml </dev/null >>server.log 2>&1) &
  server=$!
  until kita info >/dev/null 2>&1; do
    ((SECONDS < end)) && kill -0 "$server" 2>/dev/null || fail "a server that answers"
    sleep 0.05
  done
}

cp -r "$examples/children" "$examples/later" "$dir/"
cd "$dir"
port=$(free_port)
text=$(<"$examples/server.yml")
printf '%s\n' "${text/port: 33889/port: $port}" >server.yml

title "The files are checked, then the server starts on them, in half mode: db and web"
show 0 kita validate server.yml
printf '$ kita serve server.yml &\n'
serve
await web '"phase":"running"'
await db '"phase":"running"'
show 0 kita check

title "A file is dropped into a load path, and started"
show 0 cp later/worker.yaml children/
await worker '"phase":"stopped"'
show 0 kita trystart worker
show 0 kita trystart worker
await worker '"phase":"running"'
show 0 kita check worker

title "web crashes: its policy is on-failure, so it waits and starts again"
first=$(pid_of web)
show 0 kill -KILL "$first"
await web '"phase":"backoff".*"next_start"'
show 3 kita check web
await web '"phase":"running".*"restarts":1'
second=$(pid_of web)
[[ $first != "$second" ]] || fail "another process"
show 0 kita check web

title "What web has written, over both of its runs and a rotation"
show 0 kita rotate web
show 0 kita logs web

title "flaky never works: after three starts kita gives up, and says why"
show 0 kita start flaky
await flaky '"phase":"failed".*startlimitreached'
show 3 kita check flaky

title "A typo is an error, with the line and what to write"
printf 'command: sleep 100\nrestart: on-failur\n' >children/typo.yml
show 1 kita start typo
rm children/typo.yml

title "The server itself is killed: the children live on, and a new server takes them back"
show 0 kill -KILL "$server"
wait "$server" 2>/dev/null || true
printf '$ kita serve server.yml &\n'
serve
await web '"phase":"running".*"adopted":true|"adopted":true.*"phase":"running"'
[[ $(pid_of web) == "$second" ]] || fail "web with PID $second"
show 0 kita check

title "Old clients get the answers they know"
printf '$ printf "stop worker" >/dev/tcp/127.0.0.1/%s\n' "$port"
exec 3<>"/dev/tcp/127.0.0.1/$port"
printf 'stop worker' >&3
answer=$(timeout 20 cat <&3)
exec 3>&-
echo "$answer"
[[ $answer == "stop worker success" ]] || fail "stop worker success"

title "web is stopped; its posthook starts cleanup"
show 0 kita stop web
await cleanup '"phase":"exited"'
show 0 cat cleanup.log
show 0 kita check

title "kill ends the children and the server"
show 0 kita kill
end=$((SECONDS + 20))
while kill -0 "$server" 2>/dev/null; do
  ((SECONDS < end)) || fail "the server to end"
  sleep 0.05
done
status=0
wait "$server" || status=$?
server=
((status == 0)) || fail "status 0 of the server, got $status"
left=$(started)
[[ -z $left ]] || fail "no process left, there are ${left//$'\n'/ }"
show 4 kita check
echo
echo "All of it happened as it should, and no process is left."
