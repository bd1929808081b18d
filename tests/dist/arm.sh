#!/bin/busybox sh
# SPDX-License-Identifier: Apache-2.0
# The first process of a 32-bit ARM kernel that has busybox, slb and the kernel's modules, and nothing else: a load-balancer is
# created, serves, outlives a kill, is edited and is cleaned up. What it says after `arm: ` is held against what it should be by
# tests/dist/arm.rs.
/bin/busybox mkdir -p /dev /proc /sys /sbin /usr/bin /usr/sbin /run /var/lib /www/one /www/two
/bin/busybox --install -s
export PATH=/bin:/sbin:/usr/bin:/usr/sbin
mount -t devtmpfs dev /dev
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t tmpfs tmpfs /run

say() { sed "s/^/arm: $1 /"; }
start() {
    slb server --arp --adapter dummy0 --ipamRange 10.1.0.85-10.1.0.90 --tcpTimeout 77s --stateDir /run/state >>/run/log 2>&1 &
    slb=$!
    until wget -q -O /dev/null http://127.0.0.1:10001/readyz; do
        kill -0 $slb || { say failed </run/log; poweroff -f; }
        sleep 1
    done
}
get() { wget -q -O - "http://127.0.0.1:10001$1"; }
post() { wget -q -O - --post-data "$2" "http://127.0.0.1:10001$1"; }
state() { sed 's/  */ /g; s/ $//' /proc/net/ip_vs | say "$1"; }
visit() { for _ in 1 2 3 4; do wget -q -O - http://10.1.0.85/; done | sort | uniq -c | sed 's/  */ /g' | say "$1"; }

ip link set lo up
modprobe dummy
# It has none by itself, for there is nobody.
ip link set dummy0 arp on up
ip addr add 10.1.0.1/24 dev dummy0
echo one >/www/one/index.html
echo two >/www/two/index.html
httpd -p 10.1.0.1:8001 -h /www/one
httpd -p 10.1.0.1:8002 -h /www/two

start
{ uname -m; slb version; } | say machine
path=/loadbalancer/$(post /loadbalancer '{"name":"web","port":80}' | sed 's/^{"uuid":"\([^"]*\)".*/\1/')
post "$path/backend" '[{"ip":"10.1.0.1","port":8001,"weight":3},{"ip":"10.1.0.1","port":8002,"weight":3}]' >/dev/null
state programmed
visit served
# The kernel adds up every two seconds.
until get "$path/statistics" | grep -q '"connections":4'; do sleep 1; done
{ get "$path/statistics"; echo; } | say statistics

kill -9 $slb
wait $slb
visit alone
start
state again
printf 'DELETE %s HTTP/1.0\r\n\r\n' "$path" | nc 127.0.0.1 10001 | head -n 1 | say deleted
state empty
post /loadbalancer '{"name":"left","port":81,"protocol":"udp","scheduler":"mh"}' >/dev/null
state left
kill $slb
wait $slb
slb cleanup --stateDir /run/state 2>&1 | say cleanup
state clean
ip -4 -o addr show dev dummy0 | sed 's/  */ /g' | say address
say log </run/log
echo 'arm: end'
poweroff -f
