# Evaluates packages that read files of this machine and ask a server on it, and those that flakes may have.
#
#   bash evaluation-attacks.sh SYSTEM EXPORT
#
# The name of a package that evaluates is what it has read. With EXPORT, the process may not make namespaces.

set -eu
system=$1 how=$2
export HOME=/root GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@example.org GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@example.org
nix() { command nix --extra-experimental-features "nix-command flakes" "$@"; }

# A server that notes who asks. The loopback interface of a new network namespace is down.
perl -MSocket -MIO::Socket::INET -e '
	socket(S, AF_INET, SOCK_DGRAM, 0); $up = pack("Z16 s x22", "lo", 0x41); ioctl(S, 0x8914, $up) or die;
	$l = IO::Socket::INET->new(LocalAddr => "127.0.0.1", LocalPort => 8000, Listen => 9, ReuseAddr => 1) or die;
	open(READY, ">/srv/ready");
	close(READY);
	while ($c = $l->accept) {
		open(H, ">>/srv/asked"); print H scalar <$c>; close(H);
		print $c "HTTP/1.0 200 OK\r\nContent-Length: 6\r\n\r\nleaked"; close($c);
	}' &
server=$!
while ! [ -e /srv/ready ]; do
	kill -0 $server
	sleep 0.1
done

mkdir -p /srv/private /srv/repository /srv/tarball/t /root/flake/inner /etc/nix
printf 'sandbox-paths = /bin=/usr/bin /lib=/usr/lib /lib64=/usr/lib64 /usr\n' >/etc/nix/nix.conf
for dir in private repository tarball/t; do
	printf leaked >/srv/$dir/key
	echo '{ outputs = _: { }; }' >/srv/$dir/flake.nix
done
tar cf /srv/t.tar -C /srv/tarball t
hash=$(sha256sum /srv/private/key | cut -d' ' -f1)
narHash=$(nix hash path /srv/private)
git init -q /srv/repository
git -C /srv/repository add .
git -C /srv/repository commit -qm x
rev=$(git -C /srv/repository rev-parse HEAD)
other=sha256-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=
nothing=0000000000000000000000000000000000000001

echo '{ outputs = _: { name = "harmless"; }; }' >/root/flake/inner/flake.nix
echo import-harmless >/root/flake/name
cat >/root/flake/flake.nix <<E
{
  inputs.inner.url = "path:./inner";
  outputs = { self, inner }: let
    drv = name: builtins.derivation { inherit name; system = "$system"; builder = "/bin/sh"; args = [ "-c" "printf built-harmless >\$out" ]; };
    read = tree: drv (builtins.readFile (tree + "/key"));
    asked = tree: drv (builtins.seq (toString tree) "leaked");
    flake = reference: builtins.getFlake reference;
  in {
    packages.$system = {
      relative = drv inner.name;
      file = drv (builtins.replaceStrings [ "\n" ] [ "" ] (builtins.readFile ./name));
      imported = drv (builtins.readFile (drv "import"));

      fetchurl = drv (builtins.readFile (builtins.fetchurl { url = "file:///srv/private/key"; sha256 = "$hash"; }));
      tarball = read (builtins.fetchTarball { url = "file:///srv/t.tar"; sha256 = "$narHash"; });
      git-path = read (builtins.fetchGit { url = "/srv/repository"; rev = "$rev"; });
      git-url = read (builtins.fetchGit { url = "file:///srv/repository"; rev = "$rev"; });
      path = drv (builtins.readFile (builtins.path { path = /srv/private/key; sha256 = "$hash"; }));
      read-file = drv (builtins.readFile "/srv/private/key");
      tree-git = read (builtins.fetchTree { type = "git"; url = "file:///srv/repository"; rev = "$rev"; });
      tree-path = read (builtins.fetchTree { type = "path"; path = "/srv/private"; narHash = "$narHash"; });
      tree-process = read (builtins.fetchTree { type = "path"; path = "/proc/1/root/srv/private"; narHash = "$narHash"; });
      flake-path = read (flake "path:/srv/private?narHash=$narHash");
      flake-process = read (flake "path:/proc/1/root/srv/private?narHash=$narHash");
      flake-git = read (flake "git+file:///srv/repository?rev=$rev");

      http = asked (builtins.fetchurl { url = "http://127.0.0.1:8000/a"; sha256 = "$other"; });
      http-tarball = asked (builtins.fetchTarball { url = "http://127.0.0.1:8000/b.tar"; sha256 = "$other"; });
      http-git = asked (builtins.fetchGit { url = "http://127.0.0.1:8000/c"; rev = "$nothing"; });
      http-tree = asked (builtins.fetchTree { type = "tarball"; url = "http://127.0.0.1:8000/d.tar"; narHash = "$other"; });
      flake-http = asked (flake "http://127.0.0.1:8000/e.tar?narHash=$other").outPath;
      flake-http-git = asked (flake "git+http://127.0.0.1:8000/f?rev=$nothing").outPath;
      flake-git-protocol = asked (flake "git://127.0.0.1:8000/g?rev=$nothing").outPath;
    };
  };
}
E
nix flake lock path:/root/flake 2>/dev/null

cat >/root/plan.sh <<E
for package in "\$@"; do
	set -- "\$@" --package "\$package"
	shift
done
/tests/ci build /root/flake --engine host --system $system --contract off --substituter none --served-by none \
	--memlock 0 --out /root/out "\$@" 2>&1
E
packages=$(sed -n 's/^      \([a-z-]*\) = .*/\1/p' /root/flake/flake.nix)
if [ "$how" = restricted ]; then
	mkdir /root/again
	mount --rbind / /root/again
	setpriv --bounding-set=-sys_admin chroot /root/again bash /root/plan.sh $packages || echo "exit code $?"
else
	bash /root/plan.sh $packages || echo "exit code $?"
fi
echo "in the store:"
find /nix/store -maxdepth 2 -name '*key' -exec grep -l leaked {} +
echo "asked:"
cat /srv/asked 2>/dev/null || true
echo "evaluation:"
grep '"evaluation"' /root/out/manifest.json || true
kill $server
