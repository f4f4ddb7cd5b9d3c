# Sets up a machine that has Nix and no build users, as Debian's nix-bin leaves it, and releases the example.
#
#   bash doctor-fix.sh SYSTEM

set -eu
sed -i /nixbld/d /etc/passwd /etc/group /etc/shadow /etc/gshadow
# Nix kills all processes of a build user, in other roots too: see enter-root.sh.
base=$((1000 + RANDOM))
printf 'SYS_UID_MIN %s00\nSYS_UID_MAX %s99\nSYS_GID_MIN %s00\nSYS_GID_MAX %s99\n' $base $base $base $base >>/etc/login.defs

release() {
	/tests/ci release example --engine host --system "$1" --contract off --out /root/out 2>&1
}
release "$1" || echo "exit code $?"
echo "doctor --fix:"
/tests/ci doctor --fix 2>&1
getent group nixbld
id nixbld32
release "$1"
# Once is enough, and users that are missing in the group are added to it.
/tests/ci doctor --fix 2>&1 | grep users || echo "no users added"
sed -i 's/^\(nixbld:.*:\).*/\1/' /etc/group
/tests/ci doctor --fix 2>&1
getent group nixbld
