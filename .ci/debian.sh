# Sourced by .ci/image and .ci/nix-root: root file systems with Nix, made of Debian's packages.
# shellcheck shell=bash

# The packages that a build needs: Nix, Git for flakes, certificates for downloads, and the
# compressors that Nix and an export call. Bash, coreutils and tar are dependencies of these.
readonly packages=nix-bin,git,ca-certificates,xz-utils,zstd

die() { printf '%s: %s\n' "${0##*/}" "$*" >&2; exit 1; }

# Prints the distribution's own sources for the architecture $1, one line each, in the format of apt. It leaves out
# sources that were added for other programs. With a suite $2 it prints only the main archive, with that suite instead
# of the machine's own release.
sources() {
	local id codename origin uri release of component keyring
	# shellcheck source=/dev/null
	id=$(. /etc/os-release && printf '%s' "$NAME")
	# shellcheck source=/dev/null
	codename=$(. /etc/os-release && printf '%s' "$VERSION_CODENAME")
	# shellcheck disable=SC2016 # apt expands these
	apt-get indextargets --format '$(ORIGIN)|$(REPO_URI)|$(RELEASE)|$(CODENAME)|$(COMPONENT)|$(SIGNED_BY)' 'Created-By: Packages' |
		sort -u | while IFS='|' read -r origin uri release of component keyring; do
		[[ $id == "$origin"* && $uri != file:* ]] || continue
		[[ -z ${2-} || $of == "$codename" ]] || continue
		# An unset field comes back as its own name.
		[[ $keyring == /* ]] || keyring=
		printf 'deb [arch=%s%s] %s %s %s\n' "$1" "${keyring:+ signed-by=$keyring}" "$uri" "${2:-$release}" "$component"
	done
}

# Documentation is the largest part of a package, and no build reads it; the licences stay. Locales are left out too:
# C.UTF-8 is in libc itself.
slim=()
for path in /usr/share/{doc,man,info,locale,lintian,bug}/'*'; do
	slim+=("--dpkgopt=path-exclude=$path")
done
slim+=("--dpkgopt=path-include=/usr/share/doc/*/copyright")

# A script for --customize-hook; its argument is the root.
#
# Build users: Debian has them in a package that wants systemd. With fixed numbers, so
# that an image made today and one made tomorrow agree on who owns a cached store.
finish() {
	local script
	script=$(
		cat <<-'END'
			set -eu
			root=$1
			chroot "$root" groupadd --gid 30000 nixbld
			for n in 1 2 3 4 5 6 7 8 9 10; do
				chroot "$root" useradd --uid $((30000 + n)) --gid nixbld --groups nixbld --no-log-init \
					--no-create-home --home-dir /var/empty --shell /usr/sbin/nologin --comment "Nix build user $n" "nixbld$n"
			done
			# An empty store with its database: a cache volume is seeded from it, so that two containers that start on
			# one volume at the same time do not both create it.
			mkdir -p "$root/var/empty"
			chroot "$root" nix-store --init
			chroot "$root" chown root:nixbld /nix/store
			chmod 1775 "$root/nix/store"
			rm -rf "$root"/var/cache/* "$root"/var/log/* "$root"/var/lib/apt/lists/* "$root"/etc/*- "$root/etc/machine-id"
			# The build copied these files from the machine; a runtime provides its own.
			: >"$root/etc/resolv.conf"
			echo nix >"$root/etc/hostname"
		END
	)
	printf "sh -c '%s' users \"\$1\"" "${script//\'/\'\\\'\'}"
}
