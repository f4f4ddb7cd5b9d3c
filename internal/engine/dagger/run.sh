#!/usr/bin/env bash
#
# Runs one command in a container, and connects it with the process that asked for it:
#
#   run ADDRESS TOKEN MEMLOCK CONFIG PROGRAM [ARG…]
#
# ADDRESS is that process's, as HOST/PORT; TOKEN names the command to it; MEMLOCK is the
# limit to ask for, in KiB, "unlimited" or empty; CONFIG becomes NIX_CONFIG. Bash is
# needed for its /dev/tcp.
#
# There are three connections, each opened with a line "TOKEN NAME". stdout and stderr
# are the command's own. Over control go lines, up: "missing", or "alive" now and then
# and "exit CODE" at last; down: "stop" ends the command, "done" says that all of its
# output has arrived. A container that ended before would take with it what is still
# on its way.

set -m # every child gets a process group

address=$1 token=$2 memlock=$3 config=$4
shift 4

exec 3<>"/dev/tcp/$address" || exit
printf '%s control\n' "$token" >&3
exec 4<>"/dev/tcp/$address" || exit
printf '%s stdout\n' "$token" >&4
exec 5<>"/dev/tcp/$address" || exit
printf '%s stderr\n' "$token" >&5

# Ends when everything has arrived on the other side.
finish() {
	printf '%s\n' "$1" >&3
	read -r -u 3 _
	exit 0 # the other side knows the code; here it would only look like a failure of Dagger's
}

if ! type -P -- "$1" >/dev/null; then
	exec 4>&- 5>&-
	finish missing
fi

# Not every engine allows more than it was started with; what a builder really gets is measured elsewhere.
[[ -z $memlock ]] || ulimit -l "$memlock" 2>/dev/null

# All that a command sees: what the image needs to work, proxies, and fixed values.
environment=(HOME=/root USER=root LC_ALL=C.UTF-8 NIX_USER_CONF_FILES= NIX_PATH= GIT_TERMINAL_PROMPT=0 "NIX_CONFIG=$config")
for name in PATH NIX_SSL_CERT_FILE SSL_CERT_FILE GIT_SSL_CAINFO {http,https,no,all}_proxy {HTTP,HTTPS,NO,ALL}_PROXY; do
	[[ -z ${!name-} ]] || environment+=("$name=${!name}")
done

env -i "${environment[@]}" "$@" </dev/null >&4 2>&5 3>&- 4>&- 5>&- &
command=$!
exec 4>&- 5>&-

# Says that we are alive, so that the other side can tell a long build from a lost engine.
while read -r -t 10 -u 3 word || (($? > 128)); do
	case $word in
	stop) kill -TERM -- "-$command" ;;
	'') printf 'alive\n' >&3 ;;
	esac
done 2>/dev/null &
watch=$!

wait "$command" 2>/dev/null
code=$?

# What the command has left behind would hold the connections open. All that is here besides us is the container's
# first process, whom no signal of ours reaches. Where that is not Dagger's, this is no container of our own.
if ((PPID == 1)) && [[ /proc/1/exe -ef /.init ]]; then
	kill -KILL -1
else
	kill -KILL -- "-$watch" "-$command"
fi 2>/dev/null
wait "$watch" 2>/dev/null
finish "exit $code"
