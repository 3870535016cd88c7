//! The guest's side of a path: one link, its addresses, its gateway.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::Context;

use crate::netlink::{Events, Netlink, parse_prefix};

/// How long a link may take to appear (its driver may still be at work) and to have a carrier.
const LINK_COMES: Duration = Duration::from_secs(10);

/// Finds a link by its hardware address, brings it up, gives it its addresses, and returns once it
/// has a carrier: a packet sent now leaves the machine. Harmless when repeated.
///
/// # Errors
/// If there is no such link within the deadline, an address is not one, or the kernel refuses.
pub fn configure(mac: &str, addresses: &[String], gateway: Option<IpAddr>) -> anyhow::Result<()> {
    let addresses: Vec<(IpAddr, u8)> =
        addresses.iter().map(|text| parse_prefix(text)).collect::<anyhow::Result<_>>()?;
    let events = Events::of_links()?;
    let mut netlink = Netlink::open()?;
    let link = events.until(&format!("link `{mac}`"), LINK_COMES, || {
        Ok(netlink.links()?.into_iter().find(|link| link.mac.eq_ignore_ascii_case(mac)))
    })?;
    let of_link = || format!("failed to configure link `{}` ({mac})", link.name);

    netlink.set_up(link.index).with_context(of_link)?;
    for (address, prefix) in addresses {
        netlink.add_address(link.index, address, prefix).with_context(of_link)?;
    }
    if let Some(gateway) = gateway {
        netlink.add_default_route(gateway).with_context(of_link)?;
    }
    events.until(&format!("the carrier of link `{}` ({mac})", link.name), LINK_COMES, || {
        let carries = |l: &crate::netlink::Link| l.index == link.index && l.carries;
        Ok(netlink.links()?.iter().any(carries).then_some(()))
    })
}
