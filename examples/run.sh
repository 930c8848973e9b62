#!/bin/sh
# Starts a run by HTTP, follows it, and exits by its status as the command line does: 0 done, 1 failed, 2 refused,
# 3 stopped with work left, 4 skipped since another run holds the lease; 5 where nobody could be asked to the end.
#
#   APP_URL=https://APP.azurewebsites.net APP_KEY=... examples/run.sh [NAME [BUDGET]]       NAME: a task or a group
#
# APP_TOKEN is the token of an Entra principal, where the app asks for one. INTERVAL seconds lie between two looks (30), and
# after PATIENCE seconds (43200) nobody looks any more; the run itself goes on. Needs curl and what every system has.
set -eu

name=${1:-daily-cleanup}
budget=${2:-}
url=${APP_URL:?"is the address of the app, such as https://APP.azurewebsites.net"}
url=${url%/}
case ${url} in
    https://* | http://localhost:* | http://127.0.0.1:*) ;;
    *) echo "APP_URL is ${url}, over which others could read the key; let it begin with https://" >&2; exit 2 ;;
esac
case ${name}${budget} in
    *[!a-z0-9\ -]*) echo "a name is a task or a group, such as daily-cleanup, and a budget a time, such as 8m" >&2; exit 2 ;;
    *) ;;
esac
interval=${INTERVAL:-30}
patience=${PATIENCE:-43200}

folder=$(mktemp -d)
trap 'rm -rf "${folder}"' EXIT
trap 'exit 130' INT TERM

# ask OPTIONS... PATH: the status on standard output; document and headers in files. Key and token come by standard input,
# as everybody may read a command line. --retry waits as Retry-After says, for 408, 429, 500, 502, 503, 504 and silence.
ask() {
    {
        [ -z "${APP_KEY:-}" ] || printf 'header = "x-functions-key: %s"\n' "${APP_KEY}"
        [ -z "${APP_TOKEN:-}" ] || printf 'header = "Authorization: Bearer %s"\n' "${APP_TOKEN}"
    } | curl --config - --silent --show-error --max-time 230 --output "${folder}/document" --dump-header "${folder}/headers" \
        --write-out '%{http_code}' "$@"
}

# The first value of that key in the document: those of the run stand before those of its steps.
value() {
    tr ',{' '[\n*]' <"${folder}/document" | sed -n "s/^[[:space:]]*\"$1\":[[:space:]]*\"\{0,1\}\([^\"]*\)\"\{0,1\}.*/\1/p" | head -n 1
}

told() {
    cat "${folder}/document" >&2
    echo >&2
}

body="{\"name\": \"${name}\"${budget:+, \"budget\": \"${budget}\"}}"
# Asked once only: an answer that is lost may have begun a run.
code=$(ask --header 'Content-Type: application/json' --data "${body}" "${url}/api/maintenance/runs") || exit 5
case ${code} in
    202) ;;
    5*) told; exit 5 ;;
    *) echo "refused with ${code}:" >&2; told; exit 2 ;;
esac
place=$(tr -d '\r' <"${folder}/headers" | sed -n 's/^[Ll][Oo][Cc][Aa][Tt][Ii][Oo][Nn]: *//p')
case ${place} in
    /api/maintenance/runs/*) ;;
    *) echo "the answer names no run" >&2; told; exit 5 ;;
esac
id=$(value id)
echo "run ${id} ${name}"

last=
began=$(date +%s)
while :; do
    code=$(ask --retry 5 --retry-connrefused "${url}${place}") || exit 5
    [ "${code}" = 200 ] || { told; exit 5; }
    status=$(value status)
    [ "${status}" = "${last}" ] || echo "${status}"
    last=${status}
    case ${status} in
        succeeded) echo "$(value rows) rows deleted"; exit 0 ;;
        failed) told; exit 1 ;;
        interrupted) told; exit 3 ;;
        skipped) told; exit 4 ;;
        queued | running) ;;
        *) told; exit 5 ;;
    esac
    [ "$(($(date +%s) - began))" -lt "${patience}" ] || { echo "run ${id} is ${status} after ${patience} s" >&2; exit 5; }
    sleep "${interval}"
done
