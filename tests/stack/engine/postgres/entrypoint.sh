#!/bin/sh
# What compose.yaml uses of the official entrypoint, for a container that isn't root's.
set -eu
if [ "$1" = postgres ] && ! [ -s "$PGDATA/PG_VERSION" ]; then
  password=$(mktemp)
  echo "$POSTGRES_PASSWORD" >"$password"
  initdb --pgdata="$PGDATA" --username="$POSTGRES_USER" --pwfile="$password" \
    --auth-local=trust --auth-host=scram-sha-256 >/dev/null
  rm "$password"
  echo 'host all all all scram-sha-256' >>"$PGDATA/pg_hba.conf"
  # Without TCP, so that nobody takes it for ready meanwhile.
  pg_ctl --wait --options="-c listen_addresses=''" start >/dev/null
  createdb --username="$POSTGRES_USER" --maintenance-db=postgres "$POSTGRES_DB"
  pg_ctl --wait --mode=fast stop >/dev/null
fi
[ "$1" != postgres ] || { shift; set -- postgres -c listen_addresses='*' "$@"; }
exec "$@"
