# What the set-ups of the pages are made of; every command of a page has it.

# await COMMAND... waits until it succeeds. The test ends it if it never does.
await() {
  until "$@" >/dev/null 2>&1; do sleep 0.05; done
}

# child NAME [YAML] makes a child of this host that writes lines and lives on.
child() {
  mkdir -p /srv/children
  cat >"/srv/children/$1.yml" <<END
command: sh -c 'echo "$1 listens"; echo "ERROR of $1" >&2; exec sleep 1000'
${2-}
END
}

# serve runs the server of this host and returns when it answers.
serve() {
  setsid kita serve /etc/kita/server.yml >>/var/log/kita.log 2>&1 </dev/null &
  await kita info
}

# host ADDRESS [YAML] is another host: a server on that address with the child
# files of this one.
host() {
  mkdir -p "/srv/hosts/$1"
  cat >"/srv/hosts/$1/server.yml" <<END
loadpaths: [/srv/children]
mode: full
listener_addr: $1
state_dir: state
run_dir: run
output_dir: log
${2-}
END
  setsid kita serve "/srv/hosts/$1/server.yml" >>"/srv/hosts/$1/log.txt" 2>&1 </dev/null &
  await kita info --socket "/srv/hosts/$1/run/kita.sock"
}

# end ADDRESS ends such a host.
end() {
  kita kill --socket "/srv/hosts/$1/run/kita.sock" >/dev/null
  while [[ -e /srv/hosts/$1/run/kita.sock ]]; do sleep 0.05; done
}

# sshd_at ADDRESS [PORT] runs an sshd that lets root in with the key of root.
sshd_at() {
  mkdir -p /run/sshd ~/.ssh
  chmod 700 ~/.ssh
  [[ -e ~/.ssh/id_ed25519 ]] || ssh-keygen -q -t ed25519 -N '' -f ~/.ssh/id_ed25519
  cp ~/.ssh/id_ed25519.pub ~/.ssh/authorized_keys
  [[ -e /etc/ssh/test_key ]] || ssh-keygen -q -t ed25519 -N '' -f /etc/ssh/test_key
  printf 'Host *\n  StrictHostKeyChecking accept-new\n' >~/.ssh/config
  setsid /usr/sbin/sshd -D -e -f /dev/null -o "ListenAddress=$1:${2-22}" -o HostKey=/etc/ssh/test_key -o UsePAM=no \
    -o PermitRootLogin=yes -o PasswordAuthentication=no -o PidFile=none >>/var/log/sshd.log 2>&1 </dev/null &
  await ssh -p "${2-22}" "root@$1" true
}
