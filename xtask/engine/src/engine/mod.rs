//! The measuring engine: a built-in server and clients for request/response and bulk transfer
//! over TCP and UDP, and for echoes.
//!
//! The tools that exist resolve microseconds and report means; this engine keeps nanoseconds, every
//! observation, and windows of time. [`Server`] answers any number of jobs on one port;
//! [`drive`] does one job against it and returns its samples. Nothing here decides where a
//! thread runs: threads inherit placement and policy from the thread that calls.

mod beside;
mod client;
mod cost;
mod crr;
mod datagrams;
mod distribution;
mod exchange;
mod flow;
mod header;
mod icmp;
mod late;
mod paced;
mod recorder;
mod rr;
mod server;
mod stream;
mod udp_rr;
mod udp_stream;
mod watchdog;
mod window;

#[cfg(test)]
mod tests;

use std::net::SocketAddr;

use anyhow::{Context, Result};

pub use self::cost::{RecordingCost, recording_cost};
pub use self::distribution::{LONGEST_NS, timed_by_others};
pub use self::flow::Flow;
pub use self::late::Late;
pub use self::server::Server;
pub use self::window::MOST_WINDOWS;
use crate::samples::Samples;
use crate::wire::{Job, Shape};

/// Does a job against a [`Server`], on the calling thread.
///
/// # Errors
/// A job that makes no sense; a server that does not answer, ends, or says something else. Each
/// names the server's address and the phase, and comes at the latest `grace` after warm-up and windows.
pub fn drive(job: &Job) -> Result<Samples> {
    let name = match job.shape {
        Shape::TcpRr { .. } => "tcp-rr",
        Shape::TcpCrr { .. } => "tcp-crr",
        Shape::TcpRrPaced { .. } => "tcp-rr-paced",
        Shape::TcpStream => "tcp-stream",
        Shape::UdpRr { .. } => "udp-rr",
        Shape::UdpStream { .. } => "udp-stream",
        Shape::Icmp { .. } => "icmp",
    };
    let server = SocketAddr::new(job.address, job.port);
    match job.shape {
        Shape::TcpRr { request, response } => rr::drive(job, request, response),
        Shape::TcpCrr { request, response, port } => crr::drive(job, request, response, port),
        Shape::TcpRrPaced { request, response, rate } => paced::drive(job, request, response, rate),
        Shape::TcpStream => stream::drive(job),
        Shape::UdpRr { request, response } => udp_rr::drive(job, request, response),
        Shape::UdpStream { datagram, fragments } => udp_stream::drive(job, datagram, fragments),
        Shape::Icmp { payload } => icmp::drive(job, payload),
    }
    .with_context(|| format!("{name} with {server}"))
}
