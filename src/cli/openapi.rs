//! `creditd openapi`: the document of the API.

use super::exit::Failure;
use super::output::stdout;
use crate::web::document;
use std::io::Write;

/// Print the OpenAPI document of the API, as `serve` has it at /v1/openapi.json
#[derive(Debug, clap::Args)]
pub(super) struct Openapi {}

impl Openapi {
    pub(super) fn run(self) -> Result<(), Failure> {
        let mut out = stdout();
        out.write_all(document().as_bytes())?;
        Ok(out.flush()?)
    }
}
