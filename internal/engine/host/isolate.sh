# Runs a command where it finds no files of this machine but those that it needs, in mount and process namespaces:
#
#   sh isolate.sh ROOT TEMPORARY PID PATH… -- COMMAND…
#
# ROOT is an empty directory, and TEMPORARY one that the command sees as /tmp. Each PATH is where it is outside. The
# command has the process number PID: Nix names files after it, and PID is not taken outside.
#
# /proc is that of the new namespace. In that of the machine, /proc/1/root leads out of here.

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
# As initramfs does: the new root lies on the old one. A mere chroot(2) would forbid the user namespaces of Nix's sandbox.
cd "$root"
mount --move . /
exec chroot . sh -c 'echo $(($0 - 1)) >/proc/sys/kernel/ns_last_pid; "$@"; exit $?' "$pid" "$@"
