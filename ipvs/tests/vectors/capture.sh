#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Writes down what ipvsadm and the kernel say to each other, every command and kind of object once.
# As root, in a network namespace of its own, on a kernel with IPVS and nlmon: capture.sh FILE.pcap
set -eu
ip link set lo up
ip addr add 10.0.0.2/32 dev lo
ip link add nlmon0 type nlmon
ip link set nlmon0 up
tcpdump -i nlmon0 -w "$1" -U 2>/dev/null &
tcpdump=$!
until [ -s "$1" ]; do sleep 0.1; done

ipvsadm -A -t 10.0.0.1:80 -s rr -p 300 -M 255.255.255.0 -b flag-1
ipvsadm -A -t 10.0.0.2:80 -s sh -b sh-port,sh-fallback
ipvsadm -A -u 10.0.0.2:53 -s wlc --ops
ipvsadm -A -u 10.0.0.2:5060 -s wlc -p 60 --pe sip
ipvsadm -A --sctp-service '[fd00::1]:80' -s mh -p 77 -M 64
ipvsadm -A -f 5 -s rr
ipvsadm -A -f 6 -6 -s rr
ipvsadm -a -t 10.0.0.1:80 -r 10.0.0.7:81 -m -w 3 -x 10 -y 5
ipvsadm -a -t 10.0.0.1:80 -r 10.0.0.8:80 -g
ipvsadm -a -t 10.0.0.1:80 -r 10.0.0.9:80 -i
ipvsadm -a -t 10.0.0.1:80 -r 10.0.0.10:80 -i --tun-type gue --tun-port 6080 --tun-remcsum
ipvsadm -a -t 10.0.0.1:80 -r 10.0.0.11:80 -i --tun-type gre --tun-csum
ipvsadm -a --sctp-service '[fd00::1]:80' -r '[fd00::2]:80' -m
ipvsadm -a -t 10.0.0.1:80 -r '[fd00::7]:80' -i
ipvsadm -a -f 5 -r 10.0.0.7 -g
ipvsadm -a -u 10.0.0.2:53 -r 10.0.0.2:5353 -m
for _ in 1 2 3; do bash -c 'echo something to count >/dev/udp/10.0.0.2/53'; done
# The kernel adds its counters up every two seconds.
sleep 3
ipvsadm -ln
ipvsadm -E -t 10.0.0.2:80 -s wrr
ipvsadm -e -t 10.0.0.1:80 -r 10.0.0.7:81 -m -w 4
ipvsadm -d -t 10.0.0.1:80 -r '[fd00::7]:80'
ipvsadm -Z -t 10.0.0.1:80
ipvsadm -Z
ipvsadm -D -u 10.0.0.2:53
ipvsadm --set 901 121 301
ipvsadm -l --timeout
# A daemon is not started where a destination is of another family than its service.
ipvsadm --start-daemon master --mcast-interface lo --syncid 3
ipvsadm --start-daemon backup --mcast-interface lo --syncid 3 \
    --sync-maxlen 1400 --mcast-group ff02::81 --mcast-port 9999 --mcast-ttl 3
ipvsadm -l --daemon
ipvsadm --stop-daemon master
ipvsadm --stop-daemon backup
ipvsadm -C

# What tcpdump has not read yet would be lost.
sleep 3
kill "$tcpdump"
wait "$tcpdump" || true
