#!/usr/bin/env bash
# Pictures of the reports and mails of a demo ledger, for people to look at: desktop and phone, light and dark, and the printed
# PDF of reports. Says what axe-core finds wrong, and fails when it finds anything. Needs chromium, node and npm.
#
#   tests/screenshots.sh [FOLDER]     where the pictures go; else a new folder below /tmp
set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
out="${1:-$(mktemp -d /tmp/creditd-screenshots.XXXXXX)}"
creditd="${CREDITD:-}"
if [ -z "$creditd" ]; then
    export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/creditd/target}"
    cargo build --locked --manifest-path "$root/Cargo.toml"
    creditd="$CARGO_TARGET_DIR/debug/creditd"
fi
for program in chromium node npm; do
    command -v "$program" >/dev/null || { echo "$program is not installed (Debian: chromium nodejs npm)" >&2; exit 1; }
done

mkdir -p "$out/reports" "$out/mails"
out="$(cd "$out" && pwd)"
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
cd "$work"
# The clock of the demo stands at its end, which it says itself.
now="$("$creditd" --quiet demo demo | grep -o 'CREDITD_NOW=[^ ]*')"
cd demo
export_to() {
    local name="$1"
    shift
    CREDITD_NOW="${at:-${now#*=}}" "$creditd" --quiet report export "$@" --out "$out/reports/$name"
}
account=yonder-trails
export_to month.html statement-monthly --account "$account" --month 2026-03 --by day
export_to statement.html statement-monthly --account "$account" --month 2026-03
export_to actions.html usage-by-action --account "$account" --month 2026-03
export_to actions-by-day.html statement-monthly --account "$account" --month 2026-03 --by day,action
export_to platform.html platform-daily --from 2026-01-01 --to 2026-04-01
export_to accounts.html statement-monthly --month 2026-03
export_to compared.html statement-monthly --account "$account" --month 2026-03 --by week --compare
export_to log.html transaction-log --account "$account" --from 2026-03-01 --to 2026-04-01
export_to log-of-failed.html transaction-log --account "$account" --from 2026-03-01 --to 2026-04-01 --status failed
export_to filtered.html statement-monthly --account "$account" --month 2026-03 --by day,user --type free
# A name and a user that are as long as they may be.
CREDITD_NOW="${now#*=}" "$creditd" --quiet account set "$account" --name "$(printf 'שלום 🦊%.0s' {1..80})"
CREDITD_NOW="${now#*=}" "$creditd" --quiet charge --account "$account" --action text-to-image --user "$(printf 'u%.0s' {1..200})" --key long >/dev/null
export_to long.html usage-by-user --account "$account" --from 2026-03-01 --to 2026-05-01
CREDITD_NOW="${now#*=}" "$creditd" --quiet account set "$account" --name "Yonder Trails"
at=2026-03-20T12:00:00Z export_to forecast.html statement-monthly --account "$account" --month 2026-03 --by day --as-of 2026-03-20T12:00:00Z
export_to platform.png platform-daily --from 2026-01-01 --to 2026-04-01
export_to month.png statement-monthly --account "$account" --month 2026-03 --by day
export_to actions.png usage-by-action --account "$account" --month 2026-03
export_to actions-by-day.png statement-monthly --account "$account" --month 2026-03 --by day,action
CREDITD_NOW="${now#*=}" "$creditd" --quiet report export statement-monthly --month 2026-03 --all --out "$out/reports/all"
# With the links by which they are ended.
export CREDITD__MAIL__UNSUBSCRIBE_URL=https://credits.example/unsubscribe
for kind in low-credit resolved lapse-soon monthly-statement daily-statement; do
    CREDITD_NOW="${now#*=}" "$creditd" --quiet email preview "$kind" --account "$account" --out "$out/mails" >/dev/null
done
for kind in job-failed job-well platform-monthly; do
    CREDITD_NOW="${now#*=}" "$creditd" --quiet email preview "$kind" --out "$out/mails" >/dev/null
done

tools="${XDG_CACHE_HOME:-$HOME/.cache}/creditd/screenshots"
mkdir -p "$tools"
cp "$root/tests/screenshots/package.json" "$root/tests/screenshots/shoot.mjs" "$tools/"
(cd "$tools" && npm install --silent --no-audit --no-fund)
node "$tools/shoot.mjs" "$out"
echo "pictures are in $out"
