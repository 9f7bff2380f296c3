//! `atoll edge top`.

use std::cmp::Reverse;
use std::io::IsTerminal as _;

use edge::client::{AskError, TURN, Took};
use model::{Fault, Whose};
use serde::Serialize;

use super::args::{Order, Top};
use super::exit::{Exit, Failure};
use super::faults;
use super::output::{RED, YELLOW, styled};
use super::session::Session;
use super::table::{Entry, Table};
use super::usage::tenths;
use crate::platform::Layout;

/// One turn, for programs.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Turn<'a> {
    seconds: u64,
    tenants: &'a [Took],
}

/// Shows what tenants take of this machine's edge, the heaviest first, again with every turn while somebody looks.
pub async fn top(session: &Session, args: Top) -> Result<(), Failure> {
    session.only_here("edge top")?;
    let layout = Layout::open(&session.state).map_err(|error| no_edge(format!("{error:#}")))?;
    let admin = Layout::local(layout.ports.edge_admin);
    let again = !args.once && std::io::stdout().is_terminal();
    loop {
        let mut tenants = edge::client::tenants(admin).await.map_err(|error| refused(&error))?;
        tenants.sort_by_key(|took| (Reverse(weight(took, args.by)), took.tenant.clone()));
        let all = tenants.len();
        tenants.truncate(args.most);
        let turn = Turn { seconds: TURN.as_secs(), tenants: &tenants };
        let clear = if again { "\x1b[H\x1b[2J" } else { "" };
        if !session.output.one(&turn, || format!("{clear}{}", text(&tenants, all))) || !again {
            return Ok(());
        }
        tokio::time::sleep(TURN).await;
    }
}

fn weight(took: &Took, by: Order) -> u64 {
    let facts = &took.facts;
    match by {
        Order::Requests => facts.requests,
        Order::Time => facts.busy_us,
        Order::Bytes => facts.bytes_in.saturating_add(facts.bytes_out),
        Order::Errors => facts.errors,
        Order::Refused => facts.refused,
    }
}

fn text(tenants: &[Took], all: usize) -> String {
    if all == 0 {
        return format!("no tenant asked for anything in the last {} s\n", TURN.as_secs());
    }
    let mut table = Table::new(["REQUESTS/S", "REFUSED/S", "ERRORS/S", "MEAN MS", "IN KB/S", "OUT KB/S", "TENANT"]);
    for Took { tenant, facts } in tenants {
        let count = |count: u64, style| if count == 0 { Entry::from("-") } else { Entry::new(tenths(count, TURN.as_secs()), style) };
        let mean = if facts.requests == 0 { "-".to_owned() } else { tenths(facts.busy_us, facts.requests * 1000) };
        table.row([
            tenths(facts.requests, TURN.as_secs()).into(),
            count(facts.refused, YELLOW),
            count(facts.errors, RED),
            mean.into(),
            tenths(facts.bytes_in, TURN.as_secs() * 1000).into(),
            tenths(facts.bytes_out, TURN.as_secs() * 1000).into(),
            tenant.as_str().into(),
        ]);
    }
    let rest = all - tenants.len();
    table.text("") + &if rest > 0 { styled(super::output::DIM, &format!("and {rest} more (--most)\n")) } else { String::new() }
}

fn no_edge(words: String) -> Failure {
    let fault = Fault::new(faults::NO_EDGE, Whose::Caller, words);
    Failure::new(Exit::Failed, fault.hint("this works on the machine where the platform's edge runs; is it up?").next("atoll doctor"))
}

fn refused(error: &AskError) -> Failure {
    no_edge(match std::error::Error::source(error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_of_a_second_and_means_of_a_request() {
        let facts =
            edge::client::Facts { requests: 12, refused: 0, errors: 1, bytes_in: 2500, bytes_out: 1_000_000, busy_us: 30_000, ..Default::default() };
        let text = anstream::adapter::strip_str(&text(&[Took { tenant: "acme".to_owned(), facts }], 3)).to_string();
        let mut lines = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        assert_eq!(lines.next().map(|heading| heading.len()), Some(10), "{text}");
        assert_eq!(lines.next(), Some(vec!["2.4", "-", "0.2", "2.5", "0.5", "200.0", "acme"]), "{text}");
        assert_eq!(lines.next(), Some(vec!["and", "2", "more", "(--most)"]), "{text}");
    }
}
