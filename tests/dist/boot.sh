#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Before systemd on the host of tests/dist/package.rs: its file system is there to be read, and what is written stays in memory.
# The machine's own is mounted here, and $folder has what the test brings.
set -e
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
mount -t proc proc /proc
folder=$(sed 's/.*slb_folder=\([^ ]*\).*/\1/' /proc/cmdline)
modules=/var/cache/slb-lab/stock/modules/$(uname -r)
mount -t tmpfs tmpfs /run
mkdir -p /run/lib/modules
ln -s "$modules" /run/lib/modules/
modprobe -d /run overlay
mount -t tmpfs -o size=700m tmpfs /mnt
mkdir /mnt/written /mnt/work /mnt/system
mount -t overlay overlay -o lowerdir=/var/cache/slb-lab/host/system,upperdir=/mnt/written,workdir=/mnt/work /mnt/system
cd /mnt/system
cp -r "$folder/packages" .
cp "$folder/host.sh" story
mkdir -p "lib/modules/$(uname -r)"
mount --bind "$modules" "lib/modules/$(uname -r)"
cat >etc/systemd/system/story.service <<'UNIT'
[Unit]
After=multi-user.target
[Service]
Type=oneshot
ExecStart=/bin/sh /story
StandardOutput=tty
StandardError=tty
TTYPath=/dev/ttyS0
TimeoutStartSec=infinity
UNIT
mkdir -p etc/systemd/system/default.target.wants
ln -s /etc/systemd/system/story.service etc/systemd/system/default.target.wants/
ln -sf /lib/systemd/system/multi-user.target etc/systemd/system/default.target
# The console is the story's.
ln -s /dev/null etc/systemd/system/serial-getty@ttyS0.service
umount /run /proc
mkdir -p machine
pivot_root . machine
exec /lib/systemd/systemd
