#!/usr/bin/env bash
# Requests per CPU-second of load generators: keep-alive, 64 connections, 128 bytes from nginx, in turn, several rounds.
#
#   scripts/bench-load.sh [evenkeel]     default: target/release/evenkeel
#
# Needs nginx and wrk; oha and hey are measured where they are on PATH. nginx runs on the first processor and the
# generator on the second, so neither takes the other's time. ROUNDS (5) and EACH (5 s) bound it.
set -euo pipefail
evenkeel=${1:-target/release/evenkeel} rounds=${ROUNDS:-5} each=${EACH:-5} connections=64
dir=$(mktemp -d)
trap 'kill "$(cat "$dir/pid" 2>/dev/null)" 2>/dev/null || true; rm -rf "$dir"' EXIT
port=18128 url=http://127.0.0.1:18128/
cat >"$dir/nginx.conf" <<CONF
worker_processes 1;
pid $dir/pid;
error_log $dir/error.log;
events { worker_connections 4096; }
http {
  access_log off;
  keepalive_requests 1000000000;
  server { listen 127.0.0.1:$port backlog=4096; location / { return 200 "$(head -c 128 /dev/zero | tr '\0' x)"; } }
}
CONF
taskset -c 0 nginx -c "$dir/nginx.conf"

# The CPU seconds (user and system) of a command on the second processor, and what it wrote, in $dir/out.
cpu() {
  local TIMEFORMAT='%U %S'
  { time taskset -c 1 "$@" >"$dir/out" 2>"$dir/err"; } 2>&1 | awk '{ print $1 + $2 }'
}
measure() {
  local seconds requests
  case $1 in
    evenkeel)
      seconds=$(cpu "$evenkeel" load "$url" --rate max -c $connections -d "${each}s" --body-length 128 \
        --hlog "$dir/hlog" --json "$dir/json")
      requests=$(sed -n 's/^ *"ok": \([0-9]*\),*$/\1/p' "$dir/json") ;;
    wrk)
      seconds=$(cpu wrk -t1 -c$connections -d"${each}s" "$url")
      requests=$(sed -n 's/^ *\([0-9]*\) requests in.*/\1/p' "$dir/out") ;;
    oha)
      seconds=$(cpu oha --no-tui -c $connections -z "${each}s" "$url")
      requests=$(sed -n 's/^ *\[200\] \([0-9]*\) responses/\1/p' "$dir/out") ;;
    hey)
      # It keeps no more than a million results, so it gets a number and not a time.
      seconds=$(cpu hey -c $connections -n $((connections * 3000)) "$url")
      requests=$(sed -n 's/^ *\[200\]\s*\([0-9]*\) responses/\1/p' "$dir/out") ;;
  esac
  awk -v n="$requests" -v s="$seconds" -v who="$1" 'BEGIN { printf "%s %d\n", who, n / s }'
}
for round in $(seq "$rounds"); do
  for who in evenkeel wrk oha hey; do
    [ "$who" = evenkeel ] || command -v "$who" >/dev/null || continue
    measure "$who" | tee -a "$dir/all"
  done
done
echo "median, lowest and highest of $rounds rounds, requests per CPU-second; load average $(cut -d' ' -f1-3 /proc/loadavg)"
for who in evenkeel wrk oha hey; do
  values=$(awk -v who=$who '$1 == who { print $2 }' "$dir/all" | sort -n)
  [ -n "$values" ] || continue
  echo "$who $(echo "$values" | sed -n "$(((rounds + 1) / 2))p") $(echo "$values" | head -1) $(echo "$values" | tail -1)" | tee -a "$dir/medians"
done
awk '{ m[$1] = $2 } END { for (who in m) if (who != "evenkeel") printf "evenkeel is %.2f of %s\n", m["evenkeel"] / m[who], who }' "$dir/medians"
