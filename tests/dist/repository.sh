#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# repository.sh PACKAGE SUFFIX: makes this folder a repository for apt of the package, as slb_1.deb, and of the same with another
# binary and SUFFIX behind its version, as slb_2.deb.
set -eu

cp "$1" slb_1.deb
dpkg-deb -R slb_1.deb tree
sed -i "s/^Version: .*/&$2/" tree/DEBIAN/control
printf x >>tree/usr/bin/slb
(cd tree && find usr lib -type f -exec md5sum {} + >DEBIAN/md5sums)
dpkg-deb --root-owner-group -Zgzip -z1 -b tree slb_2.deb
rm -r tree
for package in slb_1.deb slb_2.deb; do
    dpkg-deb --field $package | grep .
    stat --printf 'Filename: ./%n\nSize: %s\n' $package
    echo "SHA256: $(sha256sum <$package | cut -d ' ' -f 1)"
    echo
done >Packages
