//! `atoll doctor`: each line says what was looked at, how it is, and what to do.

pub mod checks;
pub mod facts;

use model::v1alpha1::{Blueprint, Platform, PlatformSpec};
use model::{Document, Typed};
use serde::Serialize;

use super::args::{Doctor, Files};
use super::exit::{Exit, Failure};
use super::output::{BOLD, GREEN, RED, YELLOW, styled};
use super::plan::load;
use super::session::Session;

/// How something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// As it should be.
    Ok,
    /// It works, but not for long or not in every case.
    Warn,
    /// It does not work.
    Fail,
}

/// One line of the report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was looked at.
    pub check: &'static str,
    /// How it is.
    pub level: Level,
    /// What was seen.
    pub message: String,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl Finding {
    /// As it should be.
    pub fn ok(check: &'static str, message: impl Into<String>) -> Self {
        Self { check, level: Level::Ok, message: message.into(), hint: None }
    }

    /// Worth looking at.
    pub fn warn(check: &'static str, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { check, level: Level::Warn, message: message.into(), hint: Some(hint.into()) }
    }

    /// Not working.
    pub fn fail(check: &'static str, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { check, level: Level::Fail, message: message.into(), hint: Some(hint.into()) }
    }
}

/// Looks at everything; what cannot be looked at is a finding too.
pub async fn doctor(session: &Session, args: Doctor) -> Result<(), Failure> {
    let documents = if args.files.is_empty() { Vec::new() } else { load(session, &Files { files: args.files })? };
    let spec = platform(session, &documents).await;
    let engine = facts::engine().await;
    let mut findings = vec![checks::docker(&engine)];
    findings.push(checks::state(&session.state, session.platform.as_ref()));
    findings.extend(checks::disk(&session.state, &engine));
    findings.push(checks::memory());
    findings.push(checks::port(&spec, &engine, session).await);
    findings.push(checks::subnets(&spec, &engine));
    findings.extend(checks::images(&images(&spec, &documents), &engine));
    findings.push(checks::control(session).await);
    findings.extend(checks::api(&spec).await);
    session.output.result(&findings, || text(&findings));
    if findings.iter().any(|f| f.level == Level::Fail) { Err(Failure::silent(Exit::Failed)) } else { Ok(()) }
}

/// The platform's wishes: from the files, else from control, else the defaults.
async fn platform(session: &Session, documents: &[Document]) -> PlatformSpec {
    let stated = documents.iter().find_map(|d| Typed::<Platform>::read(d.clone()).ok()).map(|p| p.spec);
    match stated {
        Some(spec) => spec,
        None => session.platform_spec().await.unwrap_or_default(),
    }
}

/// Images that the platform and the blueprints of the files need.
fn images(spec: &PlatformSpec, documents: &[Document]) -> Vec<String> {
    let ours = [&spec.images.atoll, &spec.images.mariadb, &spec.images.haproxy, &spec.images.memcached].into_iter().cloned();
    let theirs = documents.iter().filter_map(|d| Typed::<Blueprint>::read(d.clone()).ok());
    let mut all: Vec<String> = ours.chain(theirs.flat_map(|b| b.spec.services.into_values().map(|s| s.image))).collect();
    all.sort();
    all.dedup();
    all
}

fn text(findings: &[Finding]) -> String {
    let width = findings.iter().map(|f| f.check.len()).max().unwrap_or(0);
    let mut text = String::new();
    for finding in findings {
        let word = match finding.level {
            Level::Ok => styled(GREEN, "ok  "),
            Level::Warn => styled(YELLOW, "warn"),
            Level::Fail => styled(RED, "fail"),
        };
        text += &format!("{word}  {:<width$}  {}\n", finding.check, finding.message);
        if let Some(hint) = &finding.hint {
            text += &format!("      {:<width$}  {}\n", "", styled(BOLD, hint));
        }
    }
    text
}
