#!/usr/bin/env bash
#
# Runs one command in a container, and connects it with the client: the process that wants its output.
#
#   run ADDRESS TOKEN MEMLOCK CONFIG PROGRAM [ARG…]
#
# ADDRESS is the client's HOST/PORT. TOKEN identifies the command. MEMLOCK is the limit of locked memory in KiB,
# "unlimited" or empty. CONFIG is the value of NIX_CONFIG. The script needs /dev/tcp of bash.
#
# There are three connections. Each begins with a line "TOKEN NAME". stdout and stderr have the output of the command.
# control has lines. The script sends "missing", or "alive" at intervals and finally "exit CODE". The client sends "stop" to
# end the command, and "done" when it has all output. If the container ended before, output in transit would be lost.

set -m # every child gets a process group

address=$1 token=$2 memlock=$3 config=$4
shift 4

exec 3<>"/dev/tcp/$address" || exit
printf '%s control\n' "$token" >&3
exec 4<>"/dev/tcp/$address" || exit
printf '%s stdout\n' "$token" >&4
exec 5<>"/dev/tcp/$address" || exit
printf '%s stderr\n' "$token" >&5

# Reports the result, and ends when the client has all output.
finish() {
	printf '%s\n' "$1" >&3
	read -r -u 3 _
	exit 0 # the client has the exit code; for Dagger, another code would be a failure of the container
}

if ! type -P -- "$1" >/dev/null; then
	exec 4>&- 5>&-
	finish missing
fi

# Some engines do not allow a higher limit. The probe measures the limit of a builder.
[[ -z $memlock ]] || ulimit -l "$memlock" 2>/dev/null

# The environment of the command: variables that the image needs, proxies, and fixed values.
environment=(HOME=/root USER=root LC_ALL=C.UTF-8 NIX_USER_CONF_FILES= NIX_PATH= GIT_TERMINAL_PROMPT=0 "NIX_CONFIG=$config")
for name in PATH NIX_SSL_CERT_FILE SSL_CERT_FILE GIT_SSL_CAINFO {http,https,no,all}_proxy {HTTP,HTTPS,NO,ALL}_PROXY; do
	[[ -z ${!name-} ]] || environment+=("$name=${!name}")
done

env -i "${environment[@]}" "$@" </dev/null >&4 2>&5 3>&- 4>&- 5>&- &
command=$!
exec 4>&- 5>&-

# Reports at intervals, so that the client can distinguish a long build from a lost engine.
while read -r -t 10 -u 3 word || (($? > 128)); do
	case $word in
	stop) kill -TERM -- "-$command" ;;
	'') printf 'alive\n' >&3 ;;
	esac
done 2>/dev/null &
watch=$!

wait "$command" 2>/dev/null
code=$?

# Processes that the command has left behind would keep the connections open. In a container of Dagger, all processes belong
# to the command, but for this one and the first one, which the signal does not reach. Elsewhere, other processes must not
# be killed.
if ((PPID == 1)) && [[ /proc/1/exe -ef /.init ]]; then
	kill -KILL -1
else
	kill -KILL -- "-$watch" "-$command"
fi 2>/dev/null
wait "$watch" 2>/dev/null
finish "exit $code"
