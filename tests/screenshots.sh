#!/usr/bin/env bash
# Pictures of the reports and mails of a demo ledger, for people to look at: desktop and phone, light and dark, and the printed
# PDF of reports. Says what axe-core finds wrong, and fails when it finds anything. Needs chromium, node, npm and python3.
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
for program in chromium node npm python3; do
    command -v "$program" >/dev/null || { echo "$program is not installed (Debian: chromium nodejs npm python3)" >&2; exit 1; }
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
CREDITD_NOW="${now#*=}" "$creditd" --quiet account set "$account" --name "$(printf 'שלום 🦊%.0s' {1..80})" >/dev/null
CREDITD_NOW="${now#*=}" "$creditd" --quiet charge --account "$account" --action text-to-image --user "$(printf 'u%.0s' {1..200})" --key long >/dev/null
export_to long.html usage-by-user --account "$account" --from 2026-03-01 --to 2026-05-01
CREDITD_NOW="${now#*=}" "$creditd" --quiet account set "$account" --name "Yonder Trails" >/dev/null
at=2026-03-20T12:00:00Z export_to forecast.html statement-monthly --account "$account" --month 2026-03 --by day --as-of 2026-03-20T12:00:00Z
export_to platform.png platform-daily --from 2026-01-01 --to 2026-04-01
export_to month.png statement-monthly --account "$account" --month 2026-03 --by day
export_to actions.png usage-by-action --account "$account" --month 2026-03
export_to actions-by-day.png statement-monthly --account "$account" --month 2026-03 --by day,action
CREDITD_NOW="${now#*=}" "$creditd" --quiet report export statement-monthly --month 2026-03 --all --out "$out/reports/all"
# With the links by which they are ended, from the pages to the account, and somebody who operates.
export CREDITD__MAIL__UNSUBSCRIBE_URL=https://credits.example/unsubscribe CREDITD__WEB__PUBLIC_URL=https://credits.example
export CREDITD__MAIL__OPERATORS='["Ops <ops@example.com>"]' CREDITD_NOW="${now#*=}"
quiet() { "$creditd" --quiet "$@" >/dev/null; }
# As it is called, from a folder of its own: two levels of one account are two mails.
preview_as() {
    local name="$1"
    shift
    quiet email preview "$@" --out "$work/$name"
    for file in "$work/$name"/*.html; do
        cp "$file" "$out/mails/$name.html"
    done
    find "$work/$name" -name '*.png' -exec cp {} "$out/mails/" \;
}
for kind in low-credit resolved lapse-soon monthly-statement daily-statement; do
    quiet email preview "$kind" --account "$account" --out "$out/mails"
done
for kind in job-failed job-well platform-monthly; do
    quiet email preview "$kind" --out "$out/mails"
done
preview_as last-day daily-statement --account "$account" --day 2026-03-31
for level in low=20% critical=5% exhausted=0; do
    quiet account set alder-academy --levels "$level"
    preview_as "low-credit-${level%=*}" low-credit --account alder-academy
done
# Figures as long as they can be, as others write them; and an account in which nothing ever happened.
for locale in en-IN de-DE; do
    quiet account create "long-$locale" --name "Long figures, $locale" --zone Asia/Kolkata --opened-on 2026-03-01 --allowance 1000000000 --locale "$locale"
    for n in 1 2 3 4; do
        CREDITD_NOW=2026-03-02T00:00:00Z quiet purchase --account "long-$locale" --packs 98765 --reference "pi-$locale-$n"
    done
    quiet actions set film --credits 1000 --title "Film" --from 2026-03-01
    CREDITD_NOW=2026-03-20T00:00:00Z quiet charge --account "long-$locale" --action film --quantity 987654 --user "$locale" --key film
    for kind in low-credit resolved lapse-soon monthly-statement; do
        preview_as "$kind-long-$locale" "$kind" --account "long-$locale"
    done
done
quiet account create quiet --name "Quiet Ltd" --zone UTC --opened-on 2026-03-01
preview_as monthly-statement-quiet monthly-statement --account quiet
# What comes of late usage, of figures that somebody changed, and of a test.
cat >"$work/late.csv" <<END
occurred_at,account,user,action,status,comment,key
2026-03-20T10:00:00Z,$account,late,text-to-image,success,,late-1
2026-03-21T10:00:00Z,$account,late,erase,success,,late-2
END
quiet transactions import "$work/late.csv"
quiet month close 2026-03 --account "$account"
quiet run close
"$creditd" --quiet email send monthly-statement --account "$account" --to me@example.com -o json >"$work/test.json"
python3 - "$work" <<END
import sqlite3
sqlite3.connect("creditd.db").execute("PRAGMA ignore_check_constraints = 1")
with sqlite3.connect("creditd.db") as db:
    db.execute("UPDATE accounts SET balance_purchased = balance_purchased + 1 WHERE account_id = '$account'")
END
quiet run verify || true
for found in "corrected monthly-statement/$account/2026-03/ /2" "verify-failed job-failed// "; do
    read -r name begins ends <<<"$found"
    key="$("$creditd" --quiet outbox list --limit 1000 -o csv | grep -o "$begins[^,]*${ends:-}" | grep "${ends:-}\$" | head -n 1)"
    "$creditd" --quiet outbox show "$key" -o json |
        python3 -c 'import json, sys; print(json.load(sys.stdin)["html"].replace("cid:consumption", sys.argv[1]))' \
            "monthly-statement-$account-consumption.png" >"$out/mails/$name.html"
done
python3 - "$work/test.json" "$out/mails" "monthly-statement-$account-consumption.png" <<'END'
import email, email.policy, json, pathlib, sys
path = pathlib.Path(json.load(open(sys.argv[1]))["answer"])
mail = email.message_from_bytes(path.read_bytes(), policy=email.policy.default)
html = mail.get_body(("html",)).get_content().replace("cid:consumption", sys.argv[3])
pathlib.Path(sys.argv[2], "test.html").write_text(html)
END
unset CREDITD_NOW

tools="${XDG_CACHE_HOME:-$HOME/.cache}/creditd/screenshots"
mkdir -p "$tools"
cp "$root/tests/screenshots/package.json" "$root/tests/screenshots/shoot.mjs" "$tools/"
(cd "$tools" && npm install --silent --no-audit --no-fund)
node "$tools/shoot.mjs" "$out"
echo "pictures are in $out"
