# Builds a package whose evaluation imports from a derivation, beside a secret, with a nix.conf that turns the sandbox
# off. The package's name says whether the builder of the derivation has seen a file of this machine.

set -eu
export HOME=/root SCOPE_CREEP_CACHIX_PRIVATE_KEY=a-secret-token
mkdir -p /etc/nix /root/flake
cat >/etc/nix/nix.conf <<E
sandbox = false
sandbox-paths = /bin=/usr/bin /lib=/usr/lib /lib64=/usr/lib64 /usr
E
touch /srv/marker
write_flake() {
	cat >/root/flake/flake.nix <<E
{
  outputs = { self }: let
    drv = name: script: derivation {
      inherit name; system = "$1"; builder = "/bin/sh"; args = [ "-c" script ];
    };
    seen = builtins.readFile (drv "inner-$2" "if [ -e /srv/marker ]; then printf outside; else printf inside; fi >\$out");
  in {
    packages.$1.p = drv seen "echo >\$out";
  };
}
E
	echo '{"nodes":{"root":{}},"root":"root","version":7}' >/root/flake/flake.lock
}
build() {
	/tests/ci "$@" /root/flake --package p --engine host --system "$system" --contract off --substituter none \
		--served-by none --memlock 0 --out /root/out
}

system=$1
write_flake "$system" first
build build 2>&1

# The same in a process that can have no sandbox: it may not mount, and a root that is no mount's makes no user namespaces.
write_flake "$system" second
mkdir /root/again
mount --rbind / /root/again
nowhere() { setpriv --bounding-set=-sys_admin chroot /root/again bash -c "system=$system; $(declare -f build); build build 2>&1"; }
echo "no sandbox, a secret"
nowhere || echo "exit code $?"
unset SCOPE_CREEP_CACHIX_PRIVATE_KEY
echo "no sandbox, no secret"
nowhere || echo "exit code $?"
