# The kernel's modules are in a place of their own; it loads them on demand through this modprobe.
mkdir -p /run/modules/lib/modules
ln -s "$modules/$(uname -r)" "/run/modules/lib/modules/$(uname -r)"
printf '#!/bin/sh\nexec /sbin/modprobe -d /run/modules "$@"\n' > /run/modprobe
chmod +x /run/modprobe
echo /run/modprobe > /proc/sys/kernel/modprobe
