# Runs a command in a root file system, in mount and process namespaces that were made for it:
#
#   bash enter-root.sh ROOT EMPTY TESTS COMMAND…
#
# The command sees ROOT and may change it, in memory: ROOT itself stays as it is. TESTS is at /tests.

set -eu
root=$1 empty=$2 tests=$3
shift 3

mount -t tmpfs tmpfs "$empty"
mkdir "$empty/changes" "$empty/work" "$empty/root"
mount -t overlay -o "lowerdir=$root,upperdir=$empty/changes,workdir=$empty/work" overlay "$empty/root"
cd "$empty/root"

# Nix kills all processes of a build user before it builds as that user, and it reaches other roots and other process
# namespaces. So the users get numbers that no other Nix uses: 30001 becomes, for example, 1234501.
base=$((1000 + RANDOM))
sed -i -E "s/:300([0-9]{2}):30000:/:$base\1:${base}00:/" etc/passwd
sed -i -E "s/^nixbld:x:30000:/nixbld:x:${base}00:/" etc/group
chgrp "${base}00" nix/store

mkdir tests old
mount --bind "$tests" tests
mount --rbind /dev dev
mount --rbind /sys sys
mount -t proc proc proc
if mountpoint -q /proc/sys/fs/binfmt_misc; then
	mount --bind /proc/sys/fs/binfmt_misc proc/sys/fs/binfmt_misc # the emulators that the kernel has
fi
pivot_root . old
cd /
umount -l old
rmdir old
exec "$@"
