# Runs a command in new mount and process namespaces, with only the files of this machine that it needs:
#
#   sh isolate.sh ROOT TEMPORARY PID PATH… -- COMMAND…
#
# ROOT is an empty directory. The command sees TEMPORARY as /tmp, and each PATH at the same place as outside. It has the
# process number PID, which no process outside has: Nix names files after it.
#
# /proc is that of the new namespace. In the machine's /proc, the link /proc/1/root leads to all files.

set -eu
root=$1 temporary=$2 pid=$3
shift 3
PATH=$PATH:/usr/sbin:/sbin

show() {
	[ -e "$1" ] || return 0
	if [ -d "$1" ]; then
		mkdir -p "$root$1"
	else
		mkdir -p "$root${1%/*}"
		[ -e "$root$1" ] || : >"$root$1"
	fi
	mount --rbind "$1" "$root$1"
}

mount -t tmpfs -o mode=755 tmpfs "$root"
mkdir "$root/tmp" "$root/proc"
mount --bind "$temporary" "$root/tmp"
mount -t proc proc "$root/proc"
for path in /bin /sbin /lib /lib32 /lib64 /libx32; do
	if [ -L "$path" ]; then
		ln -s "$(readlink "$path")" "$root$path"
	else
		show "$path"
	fi
done
while [ "$1" != -- ]; do
	show "$1"
	shift
done
shift
# This moves the new root over the old one, as an initramfs does. After chroot(2) alone, the kernel would refuse the user
# namespaces of Nix's sandbox.
cd "$root"
mount --move . /
exec chroot . sh -c 'echo $(($0 - 1)) >/proc/sys/kernel/ns_last_pid; "$@"; exit $?' "$pid" "$@"
