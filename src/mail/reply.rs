//! What a mail server's answer, or its silence, means for the message and its address: a function of the step at which
//! it came and of the codes in it.

use crate::core::delivery::Fault;
use crate::core::outbox::one_line;
use std::fmt;

/// Longest part of what a server says that is kept, in characters.
const SAID_CHARS_MAX: usize = 200;

/// The steps of a delivery, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(super) enum Step {
    /// To the server, up to its answer to EHLO over the connection that mail goes over.
    Connect,
    /// Who we are.
    Login,
    /// From whom: `MAIL FROM`.
    Sender,
    /// To whom: `RCPT TO`.
    Recipient,
    /// May we: `DATA`.
    Data,
    /// The message itself.
    Content,
    /// The end of the message may be on its way. The message is the server's when it says so, and perhaps before.
    End,
}

impl Step {
    pub const ALL: [Step; 7] =
        [Step::Connect, Step::Login, Step::Sender, Step::Recipient, Step::Data, Step::Content, Step::End];

    const fn what(self) -> &'static str {
        match self {
            Step::Connect => "connecting to it",
            Step::Login => "logging in",
            Step::Sender => "naming the sender",
            Step::Recipient => "naming the recipient",
            Step::Data => "offering the message",
            Step::Content => "sending the message",
            Step::End => "waiting for its answer to the message",
        }
    }
}

/// What went wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wrong {
    /// The server refused, in this code and these words.
    Refused { code: u16, words: String },
    /// The connection failed.
    Broke(String),
    /// What the server said is no answer to this.
    Nonsense,
    /// It took too long.
    Late,
    /// It offers nothing by which one could log in.
    NoLogin,
    /// It does not offer TLS, or not one that can be trusted.
    Unsafe(String),
}

/// A delivery that came to nothing, or perhaps not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Trouble {
    pub step: Step,
    pub wrong: Wrong,
}

impl Trouble {
    /// Whose fault it is.
    ///
    /// - A refused sender is as bad as a refused login: it would be refused with every message, so nothing is held against
    ///   this one.
    /// - A refused recipient is one that gets no mail, unless the code says that something else is the matter: X.7 policy, X.2.2
    ///   a full mailbox, X.1.7 and X.1.8 the sender, and so on; or, where there is no such code, the words name the sender's side.
    ///   Some servers tell only once they have the message.
    /// - 421 means that the server goes away. Once the recipient is named it may be about the message all the same, as some servers
    ///   say it to one recipient too many: one that were as if untried would come first again and again, and hold up all others.
    /// - So may what is said of a login from then on: it is about everybody only where others get the same answer.
    /// - Before the recipient is named, nothing is about this message.
    pub fn fault(&self) -> Fault {
        match (&self.wrong, self.step) {
            (Wrong::NoLogin, _) => Fault::Settings,
            (Wrong::Unsafe(_), _) => Fault::Server,
            (Wrong::Refused { code, words }, step) => match (code, step) {
                (_, Step::Connect) | (421, Step::Login | Step::Sender) => Fault::Server,
                (421, _) => Fault::Broken,
                (400..=499, Step::Login) => Fault::Server,
                (400..=499, _) => Fault::Passing,
                (_, Step::Login | Step::Sender) => Fault::Settings,
                (_, Step::Recipient) => match enhanced(words) {
                    Some(code) if says_nobody_is_there(code) => Fault::Address,
                    None if matches!(code, 550 | 551 | 553) && !blames_the_sender(words) => Fault::Address,
                    _ => Fault::Message,
                },
                (_, Step::Data | Step::Content | Step::End) => match enhanced(words) {
                    Some(code) if says_nobody_is_there(code) => Fault::Address,
                    _ => Fault::Message,
                },
            },
            (_, Step::End) => Fault::Unknown,
            (_, Step::Connect | Step::Login | Step::Sender) => Fault::Server,
            (_, Step::Recipient | Step::Data | Step::Content) => Fault::Broken,
        }
    }

    /// Whether the server has answered in a way after which the conversation can go on.
    pub fn is_an_answer(&self) -> bool {
        matches!(self.wrong, Wrong::Refused { code, .. } if code != 421)
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let step = self.step.what();
        match &self.wrong {
            // What is answered to a password may repeat it.
            Wrong::Refused { code, .. } if self.step == Step::Login => write!(
                f,
                "the mail server refused the login with {code}; check mail.smtp.username and the password (CREDITD_SMTP_PASSWORD, \
                 mail.smtp.password_file)"
            ),
            Wrong::Refused { code: code @ 530, words } if self.step == Step::Sender => write!(
                f,
                "the mail server takes no mail yet: {code} {words}; give it a login (mail.smtp.username and the password) or \
                 encryption (mail.smtp.tls), whichever it asks for"
            ),
            Wrong::Refused { code, words } if self.step == Step::Sender && self.fault() == Fault::Settings => {
                write!(f, "the mail server refused the sender: {code} {words}; check mail.from and mail.smtp.username")
            }
            Wrong::Refused { code, words } => write!(f, "the mail server refused while {step}: {code} {words}"),
            Wrong::Broke(why) if self.step == Step::Connect => write!(f, "the mail server cannot be reached: {why}"),
            Wrong::Broke(why) => write!(f, "the connection to the mail server broke while {step}: {why}"),
            Wrong::Nonsense => write!(f, "the mail server did not answer as mail servers do while {step}"),
            Wrong::Late if self.step == Step::Connect => write!(
                f,
                "the mail server took longer than mail.smtp.timeout_seconds while {step}; one at port 465 says nothing before TLS begins, \
                 which mail.smtp.tls = \"implicit\" is for"
            ),
            Wrong::Late => write!(f, "the mail server took longer than mail.smtp.timeout_seconds while {step}"),
            Wrong::NoLogin => f.write_str(
                "the mail server offers no way to log in that creditd knows (PLAIN, LOGIN); leave mail.smtp.username out if \
                 it takes mail without, or check mail.smtp.tls",
            ),
            Wrong::Unsafe(why) => f.write_str(why),
        }
    }
}

/// The enhanced status code of a refusal (RFC 3463), with which it should begin and which some servers put elsewhere: `5.1.1` and
/// `(5.1.1)` are (1, 1).
fn enhanced(words: &str) -> Option<(u16, u16)> {
    let code = |word: &str| {
        let mut numbers = word.trim_matches(|c: char| !c.is_ascii_digit()).split('.');
        let (class, subject, detail) = (numbers.next()?, numbers.next()?, numbers.next()?);
        (class == "5" && numbers.next().is_none()).then_some(())?;
        Some((subject.parse().ok()?, detail.parse().ok()?))
    };
    words.split(' ').find_map(code)
}

/// X.1: the address is none, but for the sender's (7, 8). X.2.1: the mailbox takes no mail.
fn says_nobody_is_there(code: (u16, u16)) -> bool {
    matches!(code, (1, detail) if !matches!(detail, 7 | 8)) || matches!(code, (2, 0 | 1))
}

/// Words of which one is enough to tell, where a server gives no enhanced code, that it refuses us and not the address. Wrongly
/// found, they cost another refusal; wrongly missed, they cost an admin all mail.
const OURS: &str = "spf dkim dmarc policy spam junk spamhaus barracuda dnsbl rbl black blacklist blacklisted block blocklist \
                    blocklisted blocked listed reputation relay relaying sender authentication unauthenticated helo ehlo dns rdns ptr \
                    prohibited prohibition verification";

fn blames_the_sender(words: &str) -> bool {
    let mut words = words.split(|c: char| !c.is_ascii_alphanumeric());
    words.any(|word| OURS.split(' ').any(|ours| word.eq_ignore_ascii_case(ours)))
}

/// What a server says, as it may be kept and shown: one line, not too long, and without addresses.
pub(super) fn shown(said: &str) -> String {
    let words = one_line(said);
    let words = words.split(' ').map(|word| if word.contains('@') { "(address)" } else { word });
    words.collect::<Vec<_>>().join(" ").chars().take(SAID_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(code: u16, words: &str) -> Wrong {
        Wrong::Refused { code, words: words.to_owned() }
    }

    #[test]
    fn what_each_refusal_means() {
        use Step::*;
        for (step, code, words, expected) in [
            (Connect, 554, "5.7.1 go away", Fault::Server),
            (Connect, 421, "too many", Fault::Server),
            (Login, 535, "5.7.8 no", Fault::Settings),
            (Login, 454, "4.7.0 later", Fault::Server),
            (Login, 421, "4.3.2 going down", Fault::Server),
            (Sender, 530, "5.7.0 log in first", Fault::Settings),
            (Sender, 553, "5.7.1 not your address", Fault::Settings),
            (Sender, 451, "4.3.0 busy", Fault::Passing),
            (Sender, 421, "4.3.2 going down", Fault::Server),
            (Recipient, 450, "4.2.0 greylisted", Fault::Passing),
            (Recipient, 550, "5.1.1 who?", Fault::Address),
            (Recipient, 550, "5.1.10 who?", Fault::Address),
            (Recipient, 550, "5.2.1 disabled", Fault::Address),
            (Recipient, 550, "no such user", Fault::Address),
            (Recipient, 550, "mailbox unavailable (5.2.2) over quota", Fault::Message),
            (Recipient, 550, "#5.1.0 Address rejected.", Fault::Address),
            (Recipient, 550, "no such user at 5.1.1.7", Fault::Address),
            (Recipient, 553, "5.1.8 bad sender", Fault::Message),
            (Recipient, 554, "5.7.1 relay access denied", Fault::Message),
            (Recipient, 552, "5.2.2 full", Fault::Message),
            (Recipient, 550, "SPF check failed", Fault::Message),
            (Recipient, 550, "Rejected: listed at zen.spamhaus.org", Fault::Message),
            (Recipient, 550, "(DMARC) see https://x.example/policy", Fault::Message),
            (Recipient, 553, "sorry, your address is Blocklisted", Fault::Message),
            (Recipient, 551, "we do not relay", Fault::Message),
            (Recipient, 550, "No reverse DNS for your host", Fault::Message),
            (Recipient, 550, "Your host is black-listed", Fault::Message),
            (Recipient, 550, "Please turn on SMTP Authentication", Fault::Message),
            (Recipient, 550, "5.1.1 who? (SPF passed)", Fault::Address),
            (Recipient, 550, "who? says mx1.antispam.example", Fault::Address),
            (Data, 550, "DKIM check failed", Fault::Message),
            (Recipient, 501, "syntax", Fault::Message),
            (Recipient, 535, "5.7.8 log in", Fault::Message),
            (Recipient, 530, "log in first", Fault::Message),
            (Recipient, 421, "4.7.0 too many for you", Fault::Broken),
            (Data, 421, "4.3.2 going down", Fault::Broken),
            (Data, 554, "no valid recipients", Fault::Message),
            (End, 550, "5.1.1 who?", Fault::Address),
            (End, 550, "5.7.1 spam", Fault::Message),
            (End, 550, "spam", Fault::Message),
            (End, 452, "4.3.1 disk full", Fault::Passing),
            (End, 421, "4.3.0 going down", Fault::Broken),
        ] {
            let trouble = Trouble { step, wrong: refused(code, words) };
            assert_eq!(trouble.fault(), expected, "{step:?} {code} {words}");
        }
    }

    #[test]
    fn only_behind_the_message_is_it_unknown_whether_it_arrived() {
        for step in Step::ALL {
            for wrong in [Wrong::Broke("reset".to_owned()), Wrong::Nonsense, Wrong::Late] {
                let fault = Trouble { step, wrong }.fault();
                let expected = match step {
                    Step::Connect | Step::Login | Step::Sender => Fault::Server,
                    Step::Recipient | Step::Data | Step::Content => Fault::Broken,
                    Step::End => Fault::Unknown,
                };
                assert_eq!(fault, expected, "{step:?}");
            }
        }
    }

    #[test]
    fn what_servers_say_is_shown_without_addresses_and_secrets() {
        let said = "5.1.1 <ann@acme.example>: unknown\r\n\u{1b}[31m user ann@acme.example, see https://x.example";
        assert_eq!(shown(said), "5.1.1 (address) unknown [31m user (address) see https://x.example");
        assert_eq!(shown(&"x".repeat(5_000)).len(), 200);
        let login = Trouble { step: Step::Login, wrong: refused(535, "s3cret is wrong") };
        assert!(!login.to_string().contains("s3cret"));
    }
}
