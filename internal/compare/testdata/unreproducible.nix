# Derivations that differ from build to build, each in one known way, and one that does not.
#
# They need no network and no nixpkgs, but the machine's own programs: their builder is /bin/sh, outside of the sandbox.
# That is what makes several of them differ at all. Two builds are made by
#
#   nix-build unreproducible.nix -A NAME                 the first
#   nix-build unreproducible.nix -A NAME --check -K      the second, kept as PATH.check
#
# with another TMPDIR, another host name (unshare --uts) and another $TMPDIR/profile each time. Nix gives every builder
# the umask 022, no locale and addresses that are the same each time; the derivations named umask, locale and address
# undo that, as a builder does which reads the machine's profile or runs a program by setarch.
{
  runs ? 1,
}:
let
  build =
    name: script:
    derivation {
      inherit name;
      system = builtins.currentSystem;
      builder = "/bin/sh";
      args = [
        "-euc"
        ("export PATH=/usr/local/bin:/usr/bin:/bin\n" + script)
      ];
    };

  # The machine's settings, which two machines have two of.
  profile = ". \"$NIX_BUILD_TOP/../profile\"\n";
in
{
  time = build "time" "date > $out";
  epoch = build "epoch" "mkdir $out; echo \"built = $(date +%s)\" > $out/seconds; date +%s.%N > $out/fraction";
  macro = build "macro" ''
    echo 'const char *built = __DATE__ " " __TIME__;' > built.c
    gcc -c built.c -o $out
  '';
  random = build "random" "echo \"id: $(cat /proc/sys/kernel/random/uuid)\" > $out";
  salt = build "salt" "{ echo head of a file; head -c 24 /dev/urandom; head -c 4096 /dev/zero; } > $out";
  pid = build "pid" "echo \"lock held by $$\" > $out";
  order = build "order" ''
    for i in $(seq 24); do
      { sleep 0.$(od -An -N2 -tu2 /dev/urandom | tr -d ' '); echo "object $i" >> $out; } &
    done
    wait
  '';
  hostname = build "hostname" "echo \"built on $(uname -n)\" > $out";
  umask = build "umask" (
    profile
    + ''
      echo text > file
      tar --mtime=@1 --owner=0 --group=0 --numeric-owner -cf $out file
    ''
  );
  modes = build "modes" (profile + "echo text > file; stat -c %A file > $out");
  locale = build "locale" (profile + "printf '%s\\n' a B c D | sort > $out");
  month = build "month" (profile + "date -d 2026-03-05 '+%A %d %B %Y' > $out");
  address = build "address" "setarch $(uname -m) sh -c 'grep -F [stack] /proc/self/maps' > $out";
  pointer = build "pointer" ''
    printf '%s\n' '#include <unistd.h>' 'int main(void) { void *p[8] = { &p }; return write(1, p, sizeof p) < 0; }' > main.c
    gcc -o main main.c
    setarch $(uname -m) ./main > $out
  '';
  gzip = build "gzip" "echo text > file; gzip -c file > $out";
  ar = build "ar" "echo text > file; ar rcU $out file";
  tar = build "tar" "echo text > file; tar --owner=0 --group=0 --numeric-owner -cf $out file";
  path = build "path" "pwd > $out";
  debug = build "debug" ''
    echo 'int main(void) { return 0; }' > main.c
    gcc -g -o $out main.c
  '';

  # The same each time, whatever the machine: the run is part of the derivation, and not of the output.
  deterministic = builtins.genList (
    run:
    build "deterministic" ''
      : run ${toString run}
      mkdir $out
      for i in b a c; do echo "$i" > $out/$i; done
      LC_ALL=C ls $out | LC_ALL=C sort > list
      gzip -nc list > $out/list.gz
      tar --mtime=@1 --sort=name --owner=0 --group=0 --numeric-owner --mode=u=rwX,go=rX -cf $out/list.tar list
      ar rcD $out/list.a list
      chmod +x $out/a
      ln -s a $out/link
    ''
  ) runs;
}
