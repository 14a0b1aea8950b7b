//! What a caller needs to know of an action that was refused: how much is missing, and what helps.

use super::{Answer, UserCap};
use crate::core::counting::{are, counted_are, grouped};
use crate::core::credits::Credits;
use crate::core::ids::AccountId;
use crate::core::transaction::Reason;

impl Answer {
    /// Credits that the action of the answer costs.
    #[must_use]
    pub const fn needed(&self) -> Credits {
        Credits::new(self.row.unit_price.get().saturating_mul(self.row.quantity))
    }

    /// Why the action was refused and what helps, in words that begin with the reason; `None` where it was not.
    #[must_use]
    pub fn refusal(&self, account: &AccountId) -> Option<String> {
        let Answer { row, replayed, available, next_reset_at, available_then, cap, .. } = self;
        let reason = row.reason?;
        let available = available.total().get();
        let needed = self.needed().get();
        let are_needed = counted_are(needed, "credit");
        let what = match (reason, cap) {
            _ if *replayed => format!(
                "this call was refused on {} (row {}), and its key stands for that refusal for ever; {} available \
                 now. Use a new key to try again",
                row.recorded_at,
                row.seq,
                counted_are(available, "credit")
            ),
            (Reason::UserCap, Some(cap)) => {
                let UserCap { user, limit, used, ends_at, .. } = cap;
                format!(
                    "{are_needed} needed; user {user} may use {} a month, has used {} and has {} left; nothing was taken. The \
                     next month begins at {ends_at}; `creditd cap set` changes the cap",
                    grouped(limit.get()),
                    grouped(used.get()),
                    grouped(cap.left().get())
                )
            }
            (Reason::UserCap, None) => format!("{are_needed} needed, which is more than the user's cap allows"),
            (Reason::InsufficientCredits, _) => format!(
                "{are_needed} needed, {} available, {} missing; nothing was taken. Purchase credits{}",
                are(available),
                are(needed.saturating_sub(available)),
                match next_reset_at {
                    Some(at) if self.needed() <= *available_then => format!(", or wait for the next reset at {at}"),
                    // That brings too few.
                    Some(_) | None => String::new(),
                }
            ),
        };
        Some(format!("{reason}: account {account}: {what}"))
    }
}
