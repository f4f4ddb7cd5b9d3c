# A stranger's builder writes to its input, which the owner's package is built from as well. Then the owner releases.
#
#   bash changed-inputs.sh SYSTEM STRANGER OWNER
#
# STRANGER and OWNER say which builders each of them has: those of "users", or those of "root" (no build users).

set -eu
system=$1 stranger=$2 owner=$3
export HOME=/root GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@example.org GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@example.org
mkdir -p /etc/nix /root/stranger /root/owner
# The loopback interface of a new network namespace is down.
perl -MSocket -e 'socket(S, AF_INET, SOCK_DGRAM, 0); $up = pack("Z16 s x22", "lo", 0x41); ioctl(S, 0x8914, $up) or die'

builders() {
	echo "sandbox-paths = /bin=/usr/bin /lib=/usr/lib /lib64=/usr/lib64 /usr" >/etc/nix/nix.conf
	[ "$1" = users ] || echo "build-users-group =" >>/etc/nix/nix.conf
}

# Writes a flake with the package p, whose builder runs the script $2.
flake() {
	cat >"/root/$1/flake.nix" <<E
{
  outputs = { self }: let
    drv = name: script: derivation { inherit name; system = "$system"; builder = "/bin/sh"; args = [ "-c" script ]; };
    input = drv "input" "echo harmless >\$out";
  in {
    packages.$system.p = drv "$1" "$2";
  };
}
E
	echo '{"nodes":{"root":{}},"root":"root","version":7}' >"/root/$1/flake.lock"
	git -C "/root/$1" init -q
	git -C "/root/$1" add .
	git -C "/root/$1" commit -qm x
}
flake stranger 'PATH=/bin; chmod u+w ${input} && echo EVIL >${input} && chmod a-w ${input}; echo done >\$out'
flake owner 'PATH=/bin; cat ${input} >\$out'

run() {
	command=$1 flake=$2
	shift 2
	/tests/ci "$command" "/root/$flake" --package p --engine host --system "$system" --contract off --substituter none \
		--served-by none --memlock 0 --out "/root/out-$flake" "$@" 2>&1
}

builders "$stranger"
run build stranger || echo "exit code $?"

/tests/serve --listen 127.0.0.1:8008 >/root/serve 2>/root/requests &
server=$!
until grep -q trusted-public-keys /root/serve; do
	kill -0 $server
	sleep 0.1
done
eval "$(grep '^export ' /root/serve)"
key=$(sed -n "s/.*trusted-public-keys '\([^']*\)'.*/\1/p" /root/serve | head -n 1)

builders "$owner"
echo "the owner's release:"
run release owner --cachix scopecreep-zip --secret-env SCOPE_CREEP_CACHIX_PRIVATE_KEY --cachix-url http://127.0.0.1:8008/api/v1 --trusted-key "$key" --confirm-timeout 5s --rebuild=off || echo "exit code $?"
echo "in the cache:"
path=$(echo /nix/store/*-owner)
nix --extra-experimental-features nix-command store cat --store http://127.0.0.1:8008 "$path" 2>/dev/null || echo nothing
echo "in the manifest:"
cat /root/out-owner/manifest.json
kill $server
