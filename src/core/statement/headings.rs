//! What columns are called on pages, in workbooks and in mails.

use super::Column;

impl Column {
    /// Its name as a heading.
    #[must_use]
    pub const fn heading(self) -> &'static str {
        match self {
            Column::Account => "Account",
            Column::From => "From",
            Column::To => "To",
            Column::Action => "Action",
            Column::User => "User",
            Column::Type => "Type",
            Column::Status => "Status",
            Column::CreditType => "Credits",
            Column::CarriedIn => "Carried in",
            Column::Allocated => "Allocated",
            Column::Purchased => "Purchased",
            Column::Bonus => "Bonus",
            Column::Consumed => "Consumed",
            Column::Refunded => "Refunded",
            Column::Lapsed => "Lapsed",
            Column::Returned => "Returned",
            Column::Adjusted => "Adjusted",
            Column::Remaining => "Remaining",
            Column::Succeeded => "Succeeded",
            Column::Failed => "Failed",
            Column::Refused => "Refused",
            Column::LocalTime => "When",
            Column::OccurredAt => "In UTC",
            Column::Kind => "Kind",
            Column::Quantity => "Quantity",
            Column::Credits => "Credits",
            Column::Free => "Free",
            Column::Comment => "Comment",
            Column::Reason => "Reason",
            Column::Reference => "Reference",
            Column::Key => "Key",
        }
    }
}
