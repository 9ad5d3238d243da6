#!/usr/bin/env bash
# The official clients, as published, against the real server: Python `openai`, Python `lorax-client`, Node `openai`.
# Then frameworks that stand on them: LangChain; with UMBEL_CLIENTS_LARGE=1 also LiteLLM, LlamaIndex and lm-evaluation-harness.
# Usage: tests/clients/run.sh UMBEL_PROGRAM WORK_FOLDER      exit 77 = skipped (no package index in reach)
#
# The packages go into WORK_FOLDER and are kept for the next run.
set -euo pipefail
program=$(realpath "$1")
mkdir -p "$2"
work=$(realpath "$2")
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
key=client-test-key

have_python() {
  [ -x "$work/venv/bin/python" ] && cmp -s "$here/requirements.txt" "$work/requirements.txt" && return 0
  command -v python3 >/dev/null || { echo "SKIP Python clients: no python3"; return 1; }
  python3 -m venv "$work/venv" >/dev/null || { echo "SKIP Python clients: python3 has no venv"; return 1; }
  "$work/venv/bin/pip" install -q --disable-pip-version-check --retries 1 --timeout 20 -r "$here/requirements.txt" \
    || { echo "SKIP Python clients: pip can't reach its index"; return 1; }
  cp "$here/requirements.txt" "$work/requirements.txt"
}

have_frameworks() {
  local venv=$work/frameworks lists=("$here/requirements-frameworks.txt")
  [ -n "${UMBEL_CLIENTS_LARGE:-}" ] && lists+=("$here/requirements-large.txt")
  [ -x "$venv/bin/python" ] && cmp -s <(cat "${lists[@]}") "$work/requirements-frameworks.txt" && return 0
  python3 -m venv "$venv" >/dev/null || return 1
  local list arguments=()
  for list in "${lists[@]}"; do arguments+=(-r "$list"); done
  "$venv/bin/pip" install -q --disable-pip-version-check --retries 1 --timeout 20 "${arguments[@]}" \
    || { echo "SKIP frameworks: pip can't reach its index"; return 1; }
  cat "${lists[@]}" >"$work/requirements-frameworks.txt"
}

have_node() {
  if command -v node >/dev/null && ! node -e 'process.exit(parseInt(process.versions.node) >= 20 ? 0 : 1)'; then
    echo "SKIP Node client: it needs Node 20 or newer, this is $(node --version)"
    return 1
  fi
  [ -d "$work/node_modules/openai" ] && cmp -s "$here/package.json" "$work/package.json" && return 0
  command -v npm >/dev/null && command -v node >/dev/null || { echo "SKIP Node client: no node and npm"; return 1; }
  cp "$here/package.json" "$work/package.json"
  (cd "$work" && npm install --silent --no-audit --no-fund --fetch-retries 1 --fetch-timeout 20000) \
    || { rm -f "$work/package.json"; echo "SKIP Node client: npm can't reach its registry"; return 1; }
}

start_server() {
  "$program" serve "$root/assets/seedling" --name seedling --adapters "$root/tests/goldens/peft_adapters" --port 0 --dtype f32 --api-key "$key" \
    >"$work/server.out" 2>"$work/server.err" &
  server=$!
  trap 'kill "$server" 2>/dev/null || true' EXIT
  for _ in $(seq 300); do
    url=$(sed -n 's|.* at \(http://[0-9.:]*\).*|\1|p' "$work/server.out" | head -1)
    [ -n "$url" ] && return 0
    kill -0 "$server" 2>/dev/null || break
    sleep 0.1
  done
  echo "the server did not start:"; cat "$work/server.out" "$work/server.err"
  exit 1
}

stop_server() {
  trap - EXIT
  kill -TERM "$server"
  if ! wait "$server"; then echo "the server did not end well:"; tail -20 "$work/server.err"; exit 1; fi
}

python_ready=0; have_python && python_ready=1
frameworks_ready=0; [ "$python_ready" = 1 ] && have_frameworks && frameworks_ready=1
node_ready=0; have_node && node_ready=1
[ $((python_ready + node_ready)) -gt 0 ] || exit 77
start_server
if [ "$python_ready" = 1 ]; then
  "$work/venv/bin/python" -B "$here/openai_client.py" "$url" "$key"
  "$work/venv/bin/python" -B "$here/lorax_client.py" "$url" "$key"
fi
if [ "$frameworks_ready" = 1 ]; then
  "$work/frameworks/bin/python" -B "$here/framework_clients.py" "$url" "$key"
  "$work/frameworks/bin/python" -B "$here/exam_client.py" "$url" "$key" "$program" "$root"
fi
if [ "$node_ready" = 1 ]; then
  python3 -B -c 'import json, sys; sys.path.insert(0, sys.argv[1]); import goldens; print(json.dumps(goldens.rows()))' "$here" >"$work/rows.json"
  (cd "$work" && node "$here/openai_client.mjs" "$url" "$key" "$work/rows.json")
fi
stop_server
