//! Asking before something that is hard to take back.

use std::io::{BufRead as _, IsTerminal as _, Write as _};

use model::{Fault, Whose};

use super::exit::{Exit, Failure};
use super::faults;

/// Asks on a terminal; without one the user must have said `--yes`.
pub async fn confirm(yes: bool, question: &str) -> Result<(), Failure> {
    if yes {
        return Ok(());
    }
    if !std::io::stdin().is_terminal() {
        let fault = Fault::new(faults::NOT_AGREED, Whose::Caller, "this needs your consent, and there is no terminal to ask on");
        return Err(Failure::new(Exit::Usage, fault.hint("look at what would be done, then add --yes")));
    }
    let prompt = format!("{question} [y/N] ");
    let answer = tokio::task::spawn_blocking(move || {
        let mut err = anstream::stderr();
        let mut line = String::new();
        err.write_all(prompt.as_bytes()).and_then(|()| err.flush()).and_then(|()| std::io::stdin().lock().read_line(&mut line)).map(|_| line)
    });
    match answer.await {
        Ok(Ok(line)) if matches!(line.trim().to_ascii_lowercase().as_str(), "y" | "yes") => Ok(()),
        _ => Err(Failure::new(Exit::Refused, Fault::new(faults::NOT_AGREED, Whose::Caller, "nothing was changed"))),
    }
}
