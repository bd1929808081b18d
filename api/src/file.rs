// SPDX-License-Identifier: Apache-2.0
//! `/file`: how the configuration file is doing.

use std::time::SystemTime;

use axum::{extract::State, response::Response};
use serde::Serialize;
use slb_core::declared::{FileProblem, FileReport};

use crate::{
    Api,
    problem::{Kind, Problem},
    reply,
};

#[derive(Serialize)]
struct FileView {
    path: String,
    applied: Option<String>,
    problem: Option<ProblemView>,
}

#[derive(Serialize)]
struct ProblemView {
    since: String,
    line: Option<usize>,
    why: String,
}

fn time(time: SystemTime) -> String {
    humantime::format_rfc3339_seconds(time).to_string()
}

impl From<FileReport> for FileView {
    fn from(FileReport { path, applied, problem }: FileReport) -> Self {
        let problem = problem.map(|FileProblem { since, line, why }| ProblemView { since: time(since), line, why });
        Self { path: path.display().to_string(), applied: applied.map(time), problem }
    }
}

/// When it was carried out, and what is wrong with it now.
pub(crate) async fn show(State(api): State<Api>) -> Result<Response, Problem> {
    match api.board.file() {
        Some(report) => Ok(reply::ok(&FileView::from(report))),
        None => Err(Problem::new(Kind::NoFile, "this server was started without a file (--config)")),
    }
}
