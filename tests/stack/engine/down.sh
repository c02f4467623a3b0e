#!/usr/bin/env bash
# Ends the engine of up.sh with its containers and volumes, and puts the firewall's rules back.
# The images stay for the next time; `down.sh --all` takes them along.
set -uo pipefail
state=${STACK_ENGINE_HOME:-$HOME/.cache/streamflow-engine}
export DOCKER_HOST=unix://$state/docker.sock PATH=/usr/bin:$PATH
[ -e "$state/dockerd.pid" ] || exit 0
containers=$(docker ps --all --quiet)
# shellcheck disable=SC2086
[ -z "$containers" ] || docker rm --force --volumes $containers >/dev/null
docker network prune --force >/dev/null
docker volume prune --force >/dev/null
kill "$(cat "$state/dockerd.pid")"
for _ in $(seq 60); do [ -e "$state/dockerd.pid" ] || break; sleep 0.5; done
umount "$state/exec/netns/default" 2>/dev/null
ip link delete docker0 2>/dev/null
[ -e "$state/iptables.before" ] && iptables-restore <"$state/iptables.before" && rm "$state/iptables.before"
rm -rf "$state/exec"
[ "${1:-}" != --all ] || rm -rf "$state"
