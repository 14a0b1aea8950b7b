//! `creditd link`: a link that lets somebody in at the pages of `creditd serve`.

use super::Context;
use super::account::find;
use super::exit::{Exit, Failure, OrExit};
use super::output::Cell;
use crate::core::access::Reach;
use crate::core::ids::{AccountId, Email};
use crate::core::signed::Purpose;
use crate::core::visit::{Visit, Visitor};
use crate::jobs::{random_bytes, visit_key};

const SCHEMA: &str = "creditd.link/1";
/// Longest time of a link, in seconds: what lets in for longer belongs behind a login.
const LINK_SECONDS_MAX: i64 = 30 * 86_400;

/// Print a link to the credit management page of an account, for one of its admins, or to the platform's, for an operator
///
/// Whoever has it is let in until it expires, and for twelve hours after they came. One link cannot be taken back; --end-all ends all
/// of them, and all visits. Examples:
///
///   creditd link --account acme --email ann@acme.example
///
///   creditd link --platform --expires 15m
///
///   creditd link --end-all
#[derive(Debug, clap::Args)]
pub(super) struct Link {
    /// The account
    #[arg(long, value_name = "ACCOUNT", requires = "email", required_unless_present_any = ["platform", "end_all"])]
    account: Option<AccountId>,
    /// The admin of it who gets the link
    #[arg(long, value_name = "EMAIL", requires = "account")]
    email: Option<Email>,
    /// To the platform's page and every account, for an operator
    #[arg(long, conflicts_with = "account")]
    platform: bool,
    /// For how long it lets in: 90s, 15m, 2h or 7d
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = expires)]
    expires: i64,
    /// Instead, end all links and visits there are, those in mails among them; links that end mails stay good
    #[arg(long, conflicts_with_all = ["account", "platform", "expires"])]
    end_all: bool,
}

impl Link {
    pub(super) async fn run(self, context: &Context) -> Result<(), Failure> {
        let app = context.app().await?;
        if self.end_all {
            app.store.renew_visit_key(random_bytes().or_exit(Exit::Failure)?).await?;
            context.say("All links and visits have ended; a creditd serve that runs knows it within five seconds.");
            return Ok(());
        }
        let Some(url) = &app.settings.web.public_url else {
            let what = "web.public_url is not set: it says where people find the pages of creditd serve, such as \
                        \"https://credits.example.com\", or \"http://127.0.0.1:8417\" on this machine";
            return Err(Failure::message(Exit::Config, what));
        };
        let reach = match (&self.account, &self.email) {
            (Some(account), Some(email)) => {
                let record = find(app, account).await?;
                if record.admins.iter().all(|admin| admin.email != *email) {
                    let what = format!(
                        "account {account} has no admin {email}; `creditd admin list {account}` shows whom it has"
                    );
                    return Err(Failure::message(Exit::Refused, what));
                }
                Reach::Account(account.clone())
            }
            _ => Reach::Platform,
        };
        let until = app.now().plus_seconds(self.expires);
        let key = visit_key(app).await.or_exit(Exit::Failure)?;
        let token = Visit { visitor: Visitor { reach, address: self.email }, until }.token(Purpose::Link, &key);
        context.show(SCHEMA, &[("url", Cell::Text(format!("{url}/enter/{token}"))), ("expires_at", until.into())])
    }
}

/// How long a link lets in, in seconds: a number with its unit.
fn expires(text: &str) -> Result<i64, String> {
    let unit = text.chars().next_back().and_then(|unit| match unit {
        's' => Some(1),
        'm' => Some(60),
        'h' => Some(3_600),
        'd' => Some(86_400),
        _ => None,
    });
    let number = || text.get(..text.len().checked_sub(1)?)?.parse::<i64>().ok();
    let seconds = unit.and_then(|unit| number()?.checked_mul(unit));
    seconds.filter(|seconds| (1..=LINK_SECONDS_MAX).contains(seconds)).ok_or_else(|| {
        format!("a time such as 15m, 2h or 7d is expected, 1 second to {} days", LINK_SECONDS_MAX / 86_400)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_expires_in_a_second_to_a_month() {
        for (text, seconds) in [("1s", 1), ("15m", 900), ("2h", 7_200), ("30d", 2_592_000)] {
            assert_eq!(expires(text), Ok(seconds), "{text}");
        }
        for bad in ["", "h", "0h", "31d", "-1h", "1", "1 h", "1.5h", "9223372036854775807d", "1é"] {
            assert!(expires(bad).is_err(), "{bad}");
        }
    }
}
