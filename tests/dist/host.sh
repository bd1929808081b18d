#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The life of the package on a Debian host with systemd: installed, set up, serves, is upgraded under load, restarted, stopped, works
# with a root that cannot be written to, is purged, whatever has become of its files.
# What it says is read by tests/dist/package.rs. /packages is a repository of two packages, the second newer.
set -eu
say() { sed "s/^/host: $1 /"; }
trap 'code=$?; { systemctl status slb || true; journalctl -u slb --no-pager || true; echo "ended with $code"; } | say end; sync; systemctl --force --force poweroff' EXIT

# What slb may change of a host.
kernel() {
    ipvsadm -Sn
    ip -4 -o addr show | sed 's/  */ /g; s/ valid_lft.*//'
    nft list ruleset
    sysctl --all --pattern '^net\.ipv4\.(ip_forward$|vs|conf)'
}
main() { systemctl show slb --property=MainPID --value; }
ready() { until get 127.0.0.1:10001/readyz >/dev/null; do sleep 0.2; done; }
# Does it, and returns when another process is the main one.
succeed() {
    before=$(main)
    "$@"
    until [ "$(main)" != "$before" ]; do sleep 0.2; done
    ready
}
visit() { for _ in $(seq "$1"); do ip netns exec client curl --silent --max-time 20 192.168.0.85; done | sort | uniq -c; }
get() { curl --silent --show-error --fail --max-time 20 "$@"; }
api() { get "$@" --header 'Content-Type: application/json'; }

# A switch of the host's, a client and two web servers on it.
modprobe -a ip_vs ip_vs_rr nf_conntrack nf_tables
ip link add br0 type bridge
ip addr add 192.168.0.1/24 dev br0
ip link set br0 up
for node in client:10 one:11 two:12; do
    name=${node%:*}
    ip netns add "$name"
    ip link add "$name" type veth peer name eth0 netns "$name"
    ip link set "$name" master br0 up
    ip -n "$name" link set lo up
    ip -n "$name" addr add "192.168.0.${node#*:}/24" dev eth0
    ip -n "$name" link set eth0 up
    mkdir -p "/www/$name"
    echo "$name" >"/www/$name/index.html"
done
for name in one two; do ip netns exec "$name" busybox httpd -p 80 -h "/www/$name"; done
kernel >/before
# As on a host that has just been set up.
modprobe -r ip_vs_rr ip_vs

apt-get install -y /packages/slb_1.deb 2>&1 | say apt
systemctl is-enabled slb | say enabled || true
cat >>/etc/slb/slb.toml <<'TOML'
adapter = "br0"
arp = true
ipamRange = "192.168.0.85-192.168.0.90"
TOML
systemctl enable --quiet --now slb
systemctl show slb --property=ActiveState,User,WatchdogUSec | say service
systemd-analyze security slb.service | grep Overall | say rating
slb version | say version

uuid=$(api 127.0.0.1:10001/loadbalancer -d '{"name":"test loadbalancer","port":80}' | sed 's/^{"uuid":"\([^"]*\)".*/\1/')
for ip in 192.168.0.11 192.168.0.12; do api "127.0.0.1:10001/loadbalancer/$uuid/backend" -d "{\"ip\":\"$ip\",\"port\":80}" >/dev/null; done
visit 4 | say served

echo 'deb [trusted=yes] file:/packages ./' >/etc/apt/sources.list
apt-get update 2>&1 | say apt

# Load of clients and of an operator, until told to stop.
touch /operator /client1 /client2
cat >/visits <<'LOOP'
while [ ! -e "$2" ]; do
    if curl --silent --show-error --fail --max-time 20 --output /dev/null "$1"; then echo good; else echo bad; fi
done
LOOP
sh /visits 127.0.0.1:10001/loadbalancers /stop-operator >/operator 2>&1 &
operator=$!
ip netns exec client sh /visits 192.168.0.85 /stop >/client1 2>&1 &
ip netns exec client sh /visits 192.168.0.85 /stop >/client2 2>&1 &
until [ "$(cat /client1 /client2 | wc -l)" -ge 10 ] && [ -s /operator ]; do sleep 0.2; done
upgrade() { apt-get upgrade -y 2>&1 | say apt; }
succeed upgrade
{ readlink "/proc/$(main)/exe"; dpkg-query --show --showformat '${Version}\n' slb; } | say runs
cat /client1 /client2 | wc -l >/count
until [ "$(cat /client1 /client2 | wc -l)" -ge $(($(cat /count) + 10)) ]; do sleep 0.2; done
cat /client1 /client2 | sort | uniq -c | say upgraded
# The API is away for a moment now, and nothing else.
touch /stop-operator
wait $operator
systemctl restart slb
ready
touch /stop
wait
sort /client1 /client2 | uniq -c | say restarted
sort /operator | uniq -c | say operator

# A successor, which systemd did not start: what happens to it is noticed, and it is waited for.
succeed systemctl reload slb
succeed kill -KILL "$(main)"
succeed systemctl reload slb
systemctl stop slb
{ systemctl show slb --property=Result; visit 2; } | say stopped
journalctl --unit slb --output cat | grep 'Killing process' | say killed || true

# A root that cannot be written to, as docs/raspberry-pi.md has it.
mkdir /data /etc/systemd/system/slb.service.d
mount -t tmpfs tmpfs /data
mount -t tmpfs tmpfs /tmp
mv /var/lib/slb /data/slb
echo 'stateDir = "/data/slb"' >>/etc/slb/slb.toml
printf '[Service]\nStateDirectory=\nReadWritePaths=/data/slb\n' >/etc/systemd/system/slb.service.d/override.conf
systemctl daemon-reload
journalctl --relinquish-var
mount -o remount,ro /
systemctl start slb
api 127.0.0.1:10001/loadbalancer -d '{"name":"more","port":81}' --output /dev/null --write-out '%{http_code}\n' | say readonly
mount -o remount,rw /

# What is left of it, once it is gone.
purge() {
    apt-get purge -y slb 2>&1 | say apt
    kernel >/after
    diff /before /after | say left || true
    ls -d /etc/slb /var/lib/slb /usr/bin/slb /etc/systemd/system/multi-user.target.wants/slb.service 2>/dev/null | say left || true
}

# Its file is deleted, and where the state is stands among what systemd understands and a shell does not.
rm /etc/slb/slb.toml
cat >/etc/default/slb <<'VARIABLES'
; Routers, and where the state is
SLB_BGP_PEER=10.0.0.253:65530 10.0.0.254:65530:it's&so
SLB_STATE_DIR = "/data/slb"
VARIABLES
apt-get install -y --reinstall slb 2>&1 | say apt
dpkg-query --show --showformat '${Status}\n' slb | say fileless
purge

# There is a mistake in its file, and the operator has given that away.
rm -r /etc/default/slb /etc/systemd/system/slb.service.d
apt-get install -y slb 2>&1 | say apt
printf 'adapter = "br0"\narp = true\nipamRange = "192.168.0.85-192.168.0.90"\n' >>/etc/slb/slb.toml
systemctl enable --quiet --now slb
api 127.0.0.1:10001/loadbalancer -d '{"name":"last","port":80,"backends":[{"ip":"192.168.0.11","port":80}]}' >/dev/null
visit 2 | say again
sed -i 's/^arp = true/arp = treu/' /etc/slb/slb.toml
chmod 644 /etc/slb/slb.toml
apt-get install -y --reinstall slb 2>&1 | say apt
{ dpkg-query --show --showformat '${Status}\n' slb; stat --format %a /etc/slb/slb.toml; } | say mistaken
purge
echo 'host: done'
