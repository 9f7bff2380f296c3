//! Networks that this machine already knows, read from the kernel's routing table.

use std::net::Ipv4Addr;

use control::PortError;
use ipnet::Ipv4Net;

/// The kernel's table: one route a line, addresses as hexadecimal words in the machine's byte order.
const TABLE: &str = "/proc/net/route";

/// Implements control's port for the machine it runs on; control shares the host's network.
pub struct KernelRoutes;

impl control::HostRoutes for KernelRoutes {
    fn in_use(&self) -> Result<Vec<Ipv4Net>, PortError> {
        let text = fs_err::read_to_string(TABLE).map_err(|e| PortError::new("HostRoutesUnknown", e.to_string()))?;
        Ok(parse(&text))
    }
}

/// Destinations of a table, but for the default route.
fn parse(table: &str) -> Vec<Ipv4Net> {
    table.lines().skip(1).filter_map(destination).filter(|net| net.prefix_len() > 0).collect()
}

fn destination(line: &str) -> Option<Ipv4Net> {
    let mut columns = line.split_whitespace();
    let address = word(columns.nth(1)?)?;
    let mask = word(columns.nth(5)?)?;
    Ipv4Net::with_netmask(address, mask).ok().map(|net| net.trunc())
}

fn word(text: &str) -> Option<Ipv4Addr> {
    u32::from_str_radix(text, 16).ok().map(|word| Ipv4Addr::from(word.to_ne_bytes()))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    #[cfg(target_endian = "little")]
    fn routes_are_read_and_the_default_route_is_left_out() {
        let table = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n\
            eth0\t00000000\t010011AC\t0003\t0\t0\t0\t00000000\t0\t0\t0\n\
            br-1\t00005B0A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n";
        assert_eq!(parse(table), vec!["10.91.0.0/24".parse::<Ipv4Net>().unwrap()]);
    }

    #[test]
    fn lines_that_are_no_routes_are_passed_over() {
        assert_eq!(parse("Iface Destination\nnothing\neth0 zz 0 0 0 0 0 zz\n"), Vec::<Ipv4Net>::new());
    }
}
