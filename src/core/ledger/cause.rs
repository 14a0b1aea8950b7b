//! The result codes: one word per cause for which a call is refused, in the order in which causes are looked for.

use crate::core::transaction::words;

words! {
    /// Why a call was refused. Where several causes hold, the first one here is told; a sum beyond the range is told where
    /// it is met.
    Cause {
        /// The key is of the kind that payments have (R12).
        ReservedKey = "reserved_key",
        /// The key stands for another call (R9).
        Conflict = "idempotency_conflict",
        /// Later than the clock.
        InFuture = "in_future",
        /// Before the account existed.
        NotOpened = "not_opened",
        /// A count outside its bounds.
        Quantity = "bad_quantity",
        /// Operators say why (R13, R14, R18).
        NoReason = "no_reason",
        /// A grant that would be over before it begins (R13).
        ExpiresInPast = "expires_in_past",
        /// No such action (R8).
        UnknownAction = "unknown_action",
        /// The action is retired (R8).
        RetiredAction = "retired_action",
        /// No hold has the key (R10).
        UnknownHold = "unknown_hold",
        /// The hold was captured (R10).
        HoldCaptured = "hold_captured",
        /// The hold was voided (R10).
        HoldVoided = "hold_voided",
        /// The hold's time is over (R10).
        HoldExpired = "hold_expired",
        /// More than is held (R10).
        ExceedsHold = "exceeds_hold",
        /// No charge has the key (R11).
        UnknownCharge = "unknown_charge",
        /// More than can be refunded (R11).
        ExceedsRefundable = "exceeds_refundable",
        /// Nothing of the purchase is there (R12).
        NothingToReturn = "nothing_to_return",
        /// Another account has the payment (R12).
        PaymentUsed = "payment_used",
        /// The account is closed (R18).
        AccountClosed = "account_closed",
        /// The account is open (R18).
        AccountOpen = "account_open",
        /// The month is closed (R14).
        MonthClosed = "month_closed",
        /// The month is open (R14).
        MonthOpen = "month_open",
        /// The month has not ended (R14).
        MonthNotOver = "month_not_over",
        /// The user has no cap (R17).
        NoCap = "no_cap",
        /// The user's cap (R17).
        UserCap = "user_cap",
        /// The credits are not there (R6).
        InsufficientCredits = "insufficient_credits",
        /// A sum beyond the range of credits.
        Overflow = "overflow",
    }
}

impl Cause {
    /// In one line, for people.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        match self {
            Cause::ReservedKey => "the key begins as those of payments do",
            Cause::Conflict => "the key was used before, for another call",
            Cause::InFuture => "the call is told to have happened later than now",
            Cause::NotOpened => "the call, or the month that it is about, is before the account opened",
            Cause::Quantity => "a number is 0, negative or beyond its bound",
            Cause::NoReason => "what operators do needs a comment that says why",
            Cause::ExpiresInPast => "the credits to grant would have lapsed already",
            Cause::UnknownAction => "there is no such action, or it had no price yet",
            Cause::RetiredAction => "the action is retired",
            Cause::UnknownHold => "no hold of the account has this key",
            Cause::HoldCaptured => "the hold was captured before",
            Cause::HoldVoided => "the hold was voided before",
            Cause::HoldExpired => "the hold's time is over; its credits were given back",
            Cause::ExceedsHold => "more is to be captured than is held; the hold stays open",
            Cause::UnknownCharge => "no charge of the account has this key",
            Cause::ExceedsRefundable => "more is to be refunded than was taken and is not refunded yet",
            Cause::NothingToReturn => "there is no such purchase, it is all spent or held, or it was returned before",
            Cause::PaymentUsed => "the payment was recorded for another account; a payment counts once",
            Cause::AccountClosed => "the account is closed, or was at that time",
            Cause::AccountOpen => "the account to open again is open",
            Cause::MonthClosed => "the month takes no late usage any more",
            Cause::MonthOpen => "the month to open again is open",
            Cause::MonthNotOver => "the month to close, or a hold made in it, has not ended",
            Cause::NoCap => "the user whose cap shall end has none",
            Cause::UserCap => "the user's monthly cap does not allow it; unless only tried, it leaves a failed row",
            Cause::InsufficientCredits => {
                "the credits are not there; a charge or hold, unless only tried, leaves a failed row"
            }
            Cause::Overflow => "a sum would leave the range of credits, whatever else is found",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::calendar::Instant;
    use crate::core::ids::ActionCode;
    use crate::core::ledger::Refusal;
    use crate::core::price::NoPrice;
    use crate::core::transaction::Reason;

    #[test]
    fn every_word_for_a_cause_is_one_of_these() {
        for reason in Reason::ALL {
            assert!(Cause::from_word(reason.as_str()).is_some(), "{reason}");
        }
        let action = || ActionCode::new("erase").expect("a code");
        let at = Instant::from_micros(0);
        for no_price in [
            NoPrice::Unknown { action: action() },
            NoPrice::NotYet { action: action(), at, from: at },
            NoPrice::Retired { action: action(), since: at },
        ] {
            let word = no_price.code();
            assert_eq!(Refusal::from(no_price).code(), word);
        }
    }

    /// What a caller is told for want of credits comes last but for sums that cannot be.
    #[test]
    fn causes_stand_in_the_order_in_which_they_are_looked_for() {
        assert!(Cause::ReservedKey < Cause::Conflict && Cause::Conflict < Cause::InFuture);
        assert!(Cause::Quantity < Cause::UnknownAction && Cause::UnknownAction < Cause::AccountClosed);
        assert!(Cause::AccountClosed < Cause::MonthClosed && Cause::MonthClosed < Cause::UserCap);
        assert!(Cause::UserCap < Cause::InsufficientCredits);
    }
}
