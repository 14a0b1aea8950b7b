//! Who may do what: how far somebody's access reaches, and what it is for. Nothing here knows how it was proven.

use super::ids::AccountId;
use super::transaction::words;

words! {
    /// What an access is for. Each includes those before it.
    Scope {
        /// To look.
        Read = "read",
        /// To take credits as well: charges, holds and refunds of them.
        Charge = "charge",
        /// To do everything else as well: purchases, settings, tokens.
        Admin = "admin",
    }
}

impl Scope {
    /// Whether who has this may do what asks for `needed`.
    #[must_use]
    pub const fn includes(self, needed: Scope) -> bool {
        self as u8 >= needed as u8
    }
}

/// Of which accounts somebody may learn anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Of all, and of the platform itself.
    Platform,
    /// Of this one.
    Account(AccountId),
}

impl Reach {
    /// Whether it covers `account`.
    #[must_use]
    pub fn covers(&self, account: &AccountId) -> bool {
        match self {
            Reach::Platform => true,
            Reach::Account(own) => own == account,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_includes_those_before_it() {
        for (place, scope) in Scope::ALL.iter().enumerate() {
            for (other_place, other) in Scope::ALL.iter().enumerate() {
                assert_eq!(scope.includes(*other), place >= other_place, "{scope} includes {other}");
            }
        }
    }
}
