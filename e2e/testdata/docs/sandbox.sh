# The first process of a sandbox: makes a machine of its own out of this one's,
# says "up", and ends with its standard input, and everything in it then. bash
# reaps the orphans meanwhile. Use: sandbox.sh BIN MODULE
set -euo pipefail
bin=$1 module=$2

mount --make-rprivate /
mount -t tmpfs -o mode=755 tmpfs /mnt
mkdir /mnt/src /mnt/etc /mnt/bin
mount --bind -o ro "$module" /mnt/src
cp "$bin/kita" /mnt/bin/
cp -a /etc/. /mnt/etc/
cp "$module"/e2e/testdata/docs/lib.sh /mnt/

# What the pages write to.
rm -rf /mnt/etc/kita
mount --bind /mnt/etc /etc
for dir in /run /srv /root /tmp /home /opt /var/lib /var/log /usr/local/bin; do
  mount -t tmpfs -o mode=755 tmpfs "$dir"
done
chmod 1777 /tmp
chmod 700 /root
cp /mnt/bin/kita /usr/local/bin/kita
# Control groups would outlive the sandbox.
[[ ! -d /sys/fs/cgroup ]] || mount -t tmpfs -o ro tmpfs /sys/fs/cgroup

ip link set lo up
for address in 10.0.0.1 10.0.0.2 10.0.0.7 10.0.0.9; do
  ip address add "$address/32" dev lo
done
hostname host1
cat >/etc/hosts <<'END'
127.0.0.1 localhost host1
::1 localhost
10.0.0.1 web1 h1
10.0.0.2 web2 h2
10.0.0.9 db1
END
sed -i 's/^root:[^:]*:/root:*:/' /etc/shadow
echo up
read -r _ || true
