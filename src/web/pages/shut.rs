//! Why a page is not shown, and the page that says so.

use super::ask::sentence;
use crate::app::AppError;
use crate::core::causes::with_causes;
use crate::core::visit::BadVisit;
use crate::jobs::JobError;
use crate::report::RenderError;
use crate::store::StoreError;
use crate::web::Late;
use crate::web::media::BadMedia;
use crate::web::problem::AGAIN_AFTER_SECONDS;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use std::borrow::Cow;

/// Why a page is not shown. What it says to the visitor names no account but theirs, and no cause that is ours.
#[derive(Debug)]
pub(in crate::web) enum Shut {
    /// Nobody was let in.
    Nobody,
    /// The link does not let in.
    Link(BadVisit),
    /// Who came by a link is no admin of the account any more.
    NoAdmin,
    /// The trusted proxy contradicts itself.
    Proxy,
    /// A form that was not given to the visitor.
    Form,
    /// A form with something in it that is none of ours: it says what.
    Filled(String),
    /// A form with more in it than any of ours has.
    LongForm,
    /// The page is opened another way.
    OtherMethod,
    /// There is nothing here, or nothing for the visitor.
    NotFound,
    /// What was asked for cannot be: it says why.
    Asked(String),
    /// What is asked for is too much at once, or cannot be drawn.
    Unfit(String),
    /// It took too long.
    Late(Late),
    /// The ledger or creditd failed.
    Broken(Box<dyn std::error::Error + Send + Sync>),
}

/// What the visitor reads instead; whoever knows what stands around pages makes one of it.
#[derive(Clone, Serialize)]
pub(super) struct Told {
    pub heading: &'static str,
    what: Cow<'static, str>,
    next: &'static str,
    /// The start page shows something else.
    has_start: bool,
}

impl From<Late> for Shut {
    fn from(late: Late) -> Shut {
        Shut::Late(late)
    }
}

impl From<StoreError> for Shut {
    fn from(error: StoreError) -> Shut {
        match error {
            StoreError::Report(error) => Shut::Asked(error.to_string()),
            error => Shut::Broken(Box::new(error)),
        }
    }
}

impl From<AppError> for Shut {
    fn from(error: AppError) -> Shut {
        match error {
            AppError::UnknownAccount(_) => Shut::NotFound,
            error @ AppError::UnknownThen { .. } => Shut::Asked(error.to_string()),
            AppError::Store(error) => Shut::from(error),
            error => Shut::Broken(Box::new(error)),
        }
    }
}

impl From<BadMedia> for Shut {
    fn from(error: BadMedia) -> Shut {
        Shut::Filled(format!("{}.", sentence(&error.to_string())))
    }
}

impl From<JobError> for Shut {
    fn from(error: JobError) -> Shut {
        Shut::Broken(Box::new(error))
    }
}

impl From<RenderError> for Shut {
    fn from(error: RenderError) -> Shut {
        match error {
            RenderError::Unfit(_) => Shut::Unfit(error.to_string()),
            // Flags are for the command line.
            RenderError::NoChart { .. } => Shut::Unfit(
                "There is nothing to draw: nothing was consumed in this range, or it is one period and has nothing to compare."
                    .to_owned(),
            ),
            error => Shut::Broken(Box::new(error)),
        }
    }
}

impl IntoResponse for Shut {
    fn into_response(self) -> Response {
        const LINK: &str = "Open the link “Credits and log” in a newer mail about your credits, or ask whoever runs the platform for a link.";
        const OUT_OF_ORDER: &str = "This page is out of order";
        const AGAIN: &str = "Try again in a minute; if it stays so, tell whoever runs the platform.";
        let (status, heading, what, next) = match &self {
            Shut::Nobody => (
                StatusCode::FORBIDDEN,
                "This page opens by a link",
                "You have not come by a link, or you came more than twelve hours ago.",
                LINK,
            ),
            Shut::Link(BadVisit::Over) => (
                StatusCode::FORBIDDEN,
                "This link has expired",
                "Links let in for some days only, so that an old mail in wrong hands opens nothing.",
                LINK,
            ),
            Shut::Link(BadVisit::Unknown) => (
                StatusCode::FORBIDDEN,
                "This is no link of ours",
                "It may have been cut or changed on its way.",
                "Take the whole link from the mail, or ask whoever runs the platform for another.",
            ),
            Shut::NoAdmin => (
                StatusCode::FORBIDDEN,
                "This link lets nobody in any more",
                "Whom it was made for is no admin of the account now.",
                "Another admin of the account, or whoever runs the platform, can help.",
            ),
            Shut::Proxy => (
                StatusCode::BAD_REQUEST,
                "Nobody can be let in",
                "What stands between you and this page does not say clearly who you are.",
                "Whoever runs the platform can help: its proxy names one account or the platform, once.",
            ),
            Shut::Form => (
                StatusCode::FORBIDDEN,
                "Nothing was changed",
                "The form did not come from this page, or was opened too long ago.",
                "Go back, load the page again, and send it once more.",
            ),
            Shut::Filled(what) => (
                StatusCode::BAD_REQUEST,
                "Nothing was changed",
                what.as_str(),
                "Go back, load the page again, and send it once more.",
            ),
            Shut::LongForm => (
                StatusCode::PAYLOAD_TOO_LARGE,
                "Nothing was changed",
                "What you sent is longer than any form of these pages.",
                "Go back, load the page again, and send it once more with less in it.",
            ),
            Shut::OtherMethod => (
                StatusCode::METHOD_NOT_ALLOWED,
                "This page is opened another way",
                "Its address takes other methods, which the header Allow names.",
                "Open it in a browser, or begin anew from the start page.",
            ),
            Shut::NotFound => (
                StatusCode::NOT_FOUND,
                "There is nothing here",
                "No page has this address, or it is not for you.",
                "Check the address, or begin anew from the start page.",
            ),
            Shut::Asked(what) => {
                (StatusCode::BAD_REQUEST, "This cannot be shown", what.as_str(), "Go back and ask for something else.")
            }
            Shut::Unfit(what) => (
                StatusCode::UNPROCESSABLE_ENTITY,
                "This cannot be made",
                what.as_str(),
                "Choose another form or range.",
            ),
            Shut::Late(Late::Body(_)) => (
                StatusCode::REQUEST_TIMEOUT,
                "Nothing was changed",
                "What you sent did not come in time.",
                "Go back, load the page again, and send it once more.",
            ),
            Shut::Late(Late::Answer | Late::Database) => {
                (StatusCode::SERVICE_UNAVAILABLE, OUT_OF_ORDER, "It could not be made in time.", AGAIN)
            }
            Shut::Broken(error) => {
                tracing::error!(error = %with_causes(&**error), "a page could not be made");
                (
                    StatusCode::SERVICE_UNAVAILABLE,
                    OUT_OF_ORDER,
                    "Something went wrong at our end, and was written down.",
                    AGAIN,
                )
            }
        };
        let has_start = !matches!(self, Shut::Nobody | Shut::NoAdmin | Shut::Proxy);
        let told = Told { heading, what: Cow::Owned(what.to_owned()), next, has_start };
        let mut answer = status.into_response();
        answer.extensions_mut().insert(told);
        if status == StatusCode::SERVICE_UNAVAILABLE {
            answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(AGAIN_AFTER_SECONDS));
        }
        if status == StatusCode::REQUEST_TIMEOUT {
            answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        answer
    }
}
