# SPDX-License-Identifier: Apache-2.0
# The first part of a lab kernel's first process. Before it, $modules, $folder and mount_out are set; after it, the job is run.
# Without its first process a kernel dies, and that is seen.
set -e
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/run/home TMPDIR=/run/tmp
mount -t proc proc /proc
mount -t tmpfs tmpfs /run
mkdir -p /run/netns /run/home /run/tmp /run/out /run/modules/lib/modules

# The kernel's modules are in a place of their own; it loads them on demand through this modprobe.
ln -s "$modules/$(uname -r)" "/run/modules/lib/modules/$(uname -r)"
printf '#!/bin/sh\nexec /sbin/modprobe -d /run/modules "$@"\n' >/run/modprobe
chmod +x /run/modprobe
echo /run/modprobe >/proc/sys/kernel/modprobe

# The machine's files can only be read; what is written, wherever that is, stays in memory.
mkdir -p /run/layer/written /run/layer/work /run/layer/root
mount -t overlay overlay -o lowerdir=/,upperdir=/run/layer/written,workdir=/run/layer/work /run/layer/root
cd /run/layer/root
mount --move /proc proc
mount --bind /run run
pivot_root . mnt
umount -l /mnt
mount -t tmpfs tmpfs /var/lib
mount -t sysfs sys /sys
mount -t cgroup2 cgroup /sys/fs/cgroup
mount_out

ip link set lo up
