//! One row of the ledger, and the words it is made of (R7, R15).

use super::calendar::Instant;
use super::credits::{CreditType, Credits, Split};
use super::ids::{ActionCode, Key, Reference, UserId};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Declares an enum whose variants are stored and shown as fixed words.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
        pub enum $name { $($(#[$vdoc])* #[serde(rename = $word)] $variant,)+ }

        impl $name {
            /// Every variant, in the order of declaration.
            pub const ALL: &'static [$name] = &[$($name::$variant),+];

            /// The word in the database and in every format.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $($name::$variant => $word,)+ }
            }

            /// The variant with this word.
            #[must_use]
            pub fn from_word(word: &str) -> Option<$name> {
                match word { $($word => Some($name::$variant),)+ _ => None }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }
    };
}
pub(crate) use words;

words! {
    /// What a transaction is. Each kind counts in one column of a statement.
    Kind {
        /// The month's free grant (R2): `allocated`.
        Allocation = "allocation",
        /// Packs bought (R12): `purchased`.
        Purchase = "purchase",
        /// An operator's gift (R13): `bonus`.
        Bonus = "bonus",
        /// An AI action, done, failed or refused (R7): `consumed`. One that settles a hold names it.
        Charge = "charge",
        /// Credits reserved before the work (R10). They count as consumed from then on, until they are released.
        Hold = "hold",
        /// Held credits given back when a hold is settled (R10), at the instant of the hold: what was captured follows
        /// as a charge.
        Release = "release",
        /// Credits of a charge given back (R11): `refunded`.
        Refund = "refund",
        /// What was left of a grant at its end (R3, R4): `lapsed`. A positive change takes a lapse back (R14).
        Expiry = "expiry",
        /// Unspent purchased credits returned (R12): `returned`.
        Return = "return",
        /// An operator's correction (R13): `adjusted`.
        Adjustment = "adjustment",
        /// New terms of the account: its zone or allowance from a month on (R1, R2). Moves no credits, as all below.
        Terms = "terms",
        /// A new monthly cap of a user, or its end (R17).
        Cap = "cap",
        /// The account was closed (R18).
        Closing = "closing",
        /// The account was opened again (R18).
        Reopening = "reopening",
        /// The month and all before it take no late usage any more (R14).
        MonthClose = "month_close",
        /// The month and all after it take late usage again (R14).
        MonthReopen = "month_reopen",
    }
}

impl Kind {
    /// False for what is written down without moving credits: terms, caps, closings.
    #[must_use]
    pub const fn moves_credits(self) -> bool {
        !matches!(
            self,
            Kind::Terms | Kind::Cap | Kind::Closing | Kind::Reopening | Kind::MonthClose | Kind::MonthReopen
        )
    }

    /// The instant at which a row of this kind counts in statements. A lapse is booked at the end of its grant and
    /// belongs to the range that ends there (DESIGN, end of section 3): it counts one microsecond, the smallest step of
    /// time, before it occurred. With that, every range is half-open.
    #[must_use]
    pub const fn counts_at(self, occurred_at: Instant) -> Instant {
        match self {
            Kind::Expiry => occurred_at.plus_micros(-1),
            _ => occurred_at,
        }
    }

    /// Whether it comes of an AI action. These rows are nearly all of a ledger, and may leave the database once they are sealed
    /// (DESIGN 8).
    #[must_use]
    pub const fn is_of_action(self) -> bool {
        matches!(self, Kind::Charge | Kind::Hold | Kind::Release | Kind::Refund)
    }
}

words! {
    /// Whether the action was done.
    Status {
        /// Done.
        Success = "success",
        /// Not done; no credits moved.
        Failed = "failed",
    }
}

words! {
    /// Why creditd refused an action. A failed row without a reason failed at the platform.
    Reason {
        /// The user's cap of the month did not allow it (R17). Looked at before the balance.
        UserCap = "user_cap",
        /// The available credits did not cover the price (R6).
        InsufficientCredits = "insufficient_credits",
    }
}

words! {
    /// Where a grant came from.
    Source {
        /// The month's allowance (R2).
        Monthly = "monthly",
        /// Purchased packs (R12).
        Pack = "pack",
        /// An operator's gift (R13).
        Bonus = "bonus",
    }
}

words! {
    /// Which pools a transaction touched (R7).
    Touched {
        /// Free credits only.
        Free = "free",
        /// Purchased credits only.
        Purchased = "purchased",
        /// Both.
        Mixed = "mixed",
        /// Neither.
        None = "none",
    }
}

/// A grant within its account: the `seq` of the transaction that created it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct GrantId(pub i64);

/// The change one transaction makes to one grant. Stored as `[grant, credit_type, delta]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "(GrantId, CreditType, Credits)", into = "(GrantId, CreditType, Credits)")]
pub struct Entry {
    /// The grant.
    pub grant: GrantId,
    /// Its pool.
    pub credit_type: CreditType,
    /// The change, signed.
    pub delta: Credits,
}

impl From<(GrantId, CreditType, Credits)> for Entry {
    fn from((grant, credit_type, delta): (GrantId, CreditType, Credits)) -> Entry {
        Entry { grant, credit_type, delta }
    }
}

impl From<Entry> for (GrantId, CreditType, Credits) {
    fn from(entry: Entry) -> (GrantId, CreditType, Credits) {
        (entry.grant, entry.credit_type, entry.delta)
    }
}

/// Money of a purchase: minor units of a currency (cents of USD).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Money {
    /// Whole minor units.
    pub minor: i64,
    /// ISO 4217, three capital letters.
    pub currency: String,
}

/// Currencies of ISO 4217 whose minor unit is not a hundredth.
const NO_MINOR_UNIT: [&str; 16] =
    ["BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "VND", "VUV", "XAF", "XOF", "XPF"];
const THOUSANDTHS: [&str; 7] = ["BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"];

impl Money {
    /// How many digits after the point the minor unit is: 2 for USD, none for JPY, 3 for KWD.
    #[must_use]
    pub fn decimals(&self) -> u32 {
        match self.currency.as_str() {
            currency if NO_MINOR_UNIT.contains(&currency) => 0,
            currency if THOUSANDTHS.contains(&currency) => 3,
            _ => 2,
        }
    }
}

/// A fingerprint of what a call asked for; tells a replay from a conflict (R9).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ContentHash(pub i64);

impl ContentHash {
    /// The fingerprint of `fields`, in order: the first 64 bits of SHA-256 over each field behind its length. It is
    /// only ever compared between two calls of one account under one key, so 64 bits are ample.
    #[must_use]
    pub fn of(fields: &[&str]) -> ContentHash {
        let mut hash = ContentHasher::default();
        fields.iter().for_each(|field| hash.field(&[field.as_bytes()]));
        hash.finish()
    }
}

/// Takes the fields of a [`ContentHash`] one by one.
#[derive(Clone, Debug, Default)]
pub struct ContentHasher(Sha256);

impl ContentHasher {
    /// The next field, in parts that belong together.
    pub fn field(&mut self, parts: &[&[u8]]) {
        let length: usize = parts.iter().map(|part| part.len()).sum();
        self.0.update(u64::try_from(length).unwrap_or(u64::MAX).to_be_bytes());
        parts.iter().for_each(|part| self.0.update(part));
    }

    /// The fingerprint of all fields so far.
    #[must_use]
    pub fn finish(self) -> ContentHash {
        let mut first = [0; 8];
        first.copy_from_slice(&self.0.finalize()[..8]);
        ContentHash(i64::from_be_bytes(first))
    }
}

/// One row of the append-only ledger of one account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transaction {
    /// Position in the account's ledger: 1, 2, 3, ... without gaps, in order of recording.
    pub seq: i64,
    /// What it is.
    pub kind: Kind,
    /// When it happened: the month it counts in. A lapse is booked at the grant's `expires_at`.
    pub occurred_at: Instant,
    /// When creditd learned of it; never decreases along `seq`.
    pub recorded_at: Instant,
    /// Who performed the action, where the platform said so.
    pub user: Option<UserId>,
    /// The action of a charge.
    pub action: Option<ActionCode>,
    /// How many of the action, or packs of a purchase; 0 for all else.
    pub quantity: i64,
    /// Credits of one action at `occurred_at` (R8), or of one pack; 0 for all else.
    pub unit_price: Credits,
    /// Done or not.
    pub status: Status,
    /// Why it was refused.
    pub reason: Option<Reason>,
    /// Free text of the caller; empty when none.
    pub comment: String,
    /// The caller's idempotency key (R9); none for rows creditd makes by itself.
    pub key: Option<Key>,
    /// What the caller asked, beside the key.
    pub content: Option<ContentHash>,
    /// The row that this one is about (R15): the lapse taken back, the hold settled, the charge refunded, the purchase
    /// returned.
    pub corrects: Option<i64>,
    /// When the grant or hold that this row made ends; `None` when it made none, or one without an end.
    pub expires_at: Option<Instant>,
    /// The price paid (R12).
    pub money: Option<Money>,
    /// The external payment (R12); the month of new terms and of the closing of months.
    pub reference: Option<Reference>,
    /// The signed change per credit type.
    pub delta: Split,
    /// Balance after this row in order of recording: the sum of all changes so far.
    pub balance: Split,
    /// `delta` by grant, in burn order.
    pub entries: Vec<Entry>,
}

impl Transaction {
    /// Credits taken by a charge or hold as a positive number, 0 for a failed one (R7); the signed change of all other
    /// kinds.
    #[must_use]
    pub fn credits(&self) -> Credits {
        self.parts().total()
    }

    /// The free and the purchased part of [`Transaction::credits`], with the same sign.
    #[must_use]
    pub const fn parts(&self) -> Split {
        let Split { free, purchased } = self.delta;
        match self.kind {
            Kind::Charge | Kind::Hold => Split { free: free.negated(), purchased: purchased.negated() },
            _ => self.delta,
        }
    }
}

/// The pools a change touched.
#[must_use]
pub fn touched(delta: Split) -> Touched {
    match (delta.free.is_zero(), delta.purchased.is_zero()) {
        (true, true) => Touched::None,
        (false, true) => Touched::Free,
        (true, false) => Touched::Purchased,
        (false, false) => Touched::Mixed,
    }
}
