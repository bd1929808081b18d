#!/bin/sh
# The first process of a lab kernel. What follows it runs the tests, writes down their exit code and powers off.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/run/home TMPDIR=/run/tmp
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t cgroup2 cgroup /sys/fs/cgroup
for own in /run /var/lib; do mount -t tmpfs tmpfs $own; done
mkdir -p /run/netns /run/home /run/tmp
ip link set lo up
