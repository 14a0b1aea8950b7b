//! What problems mean that the API answers: a page of all, and one of each, to which the address in a problem leads.

use super::ask::sentence;
use super::look::{Shell, page};
use super::{Pages, Shut};
use crate::web::problem::{Meaning, meaning_of, meanings};
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;

#[derive(Serialize)]
struct All {
    rows: Vec<Row>,
}

#[derive(Serialize)]
struct Row {
    code: &'static str,
    /// The last part of its address.
    name: String,
    status: u16,
    meaning: String,
}

impl From<Meaning> for Row {
    fn from(Meaning { code, status, meaning }: Meaning) -> Row {
        Row { code, name: code.replace('_', "-"), status, meaning: format!("{}.", sentence(meaning)) }
    }
}

/// `GET /problems/`.
pub(super) async fn all(State(pages): State<Pages>) -> Response {
    let rows = meanings().map(Row::from).collect();
    page(StatusCode::OK, "problems.html", &Shell::of_nobody(&pages, "Problems that the API answers"), &All { rows })
}

/// `GET /problems/{name}`.
pub(super) async fn one(State(pages): State<Pages>, Path(name): Path<String>) -> Result<Response, Shut> {
    let row = meaning_of(&name).map(Row::from).ok_or(Shut::NotFound)?;
    Ok(page(StatusCode::OK, "problem.html", &Shell::of_nobody(&pages, &format!("The problem {}", row.code)), &row))
}
