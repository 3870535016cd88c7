//! Real runs over loopback: each shape, both families, and servers that misbehave.
//! No test depends on how fast the machine is, only on what must add up.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener, TcpStream, UdpSocket};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::distribution::decoded;
use super::header::{LENGTH, MAGIC};
use super::*;
use crate::clock;
use crate::samples::Unit;

const V4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const V6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);

/// A port on which nothing listens: tcpmux, which died out.
const NOBODY: u16 = 1;

const RR: Shape = Shape::TcpRr { request: 1, response: 1 };
const PACED: Shape = Shape::TcpRrPaced { request: 1, response: 1, rate: 2_000 };

fn job(address: IpAddr, port: u16, shape: Shape) -> Job {
    Job {
        address,
        port,
        shape,
        warmup: Duration::from_millis(10),
        window: Duration::from_millis(10),
        windows: 8,
        grace: Duration::from_secs(20),
    }
}

/// What must hold for the transactions of any job.
fn assert_adds_up(samples: &Samples, payload: u64) {
    let count = samples.moments.count;
    assert!(count > 0);
    assert_eq!(samples.unit, Unit::Nanoseconds);
    assert_eq!(samples.windows.len(), 8);
    assert_eq!(samples.windows.iter().map(|window| window.operations).sum::<u64>(), count);
    assert_eq!(samples.windows.iter().map(|window| window.bytes).sum::<u64>(), count * payload);
    assert_eq!(
        samples.windows.iter().map(|window| window.length_ns).sum::<u64>(),
        samples.measured_ns
    );
    let histogram = decoded(samples.histogram.as_deref().unwrap());
    assert_eq!(histogram.len(), count);
    assert!((histogram.mean() / samples.moments.mean - 1.0).abs() < 0.002);
    assert!(samples.min <= samples.moments.mean && samples.moments.mean <= samples.max);
    let slowest = samples.windows.iter().filter_map(|window| window.max_ns).max().unwrap();
    assert_eq!(slowest as f64, samples.max);
    assert!(samples.crossed_operations > count, "warm-up crossed the path too");
    assert_eq!(samples.crossed_bytes, samples.crossed_operations * payload);
}

#[test]
fn rr_adds_up_over_both_families() {
    for address in [V4, V6] {
        let server = Server::start(address, 0).unwrap();
        for (request, response) in [(1, 1), (300, 70_000)] {
            let began = clock::now();
            let samples =
                drive(&job(address, server.port(), Shape::TcpRr { request, response })).unwrap();
            assert_adds_up(&samples, u64::from(request + response));
            assert!(samples.measured_ns >= 80_000_000);
            assert!(samples.began_monotonic_ns > began && samples.closed_view.is_none());
            // A closed loop does nothing else: its latencies fill the measured time.
            let busy = samples.moments.mean * samples.moments.count as f64;
            assert!(busy <= samples.measured_ns as f64 * (1.0 + 1e-9));
        }
    }
}

const CRR: Shape = Shape::TcpCrr { request: 1, response: 1, port: 0 };

#[test]
fn crr_adds_up_over_both_families() {
    for address in [V4, V6] {
        let server = Server::start(address, 0).unwrap();
        for (request, response) in [(1, 1), (300, 70_000)] {
            let shape = Shape::TcpCrr { request, response, port: 0 };
            let samples = drive(&job(address, server.port(), shape)).unwrap();
            assert_adds_up(&samples, u64::from(request + response));
        }
    }
}

/// A client that measures for long makes more connections than it has ports: those of the past must not keep it from new ones.
#[test]
fn what_is_left_of_connections_is_at_the_servers_side() {
    let server = Server::start(V4, 0).unwrap();
    let left_by = |port: u16| {
        let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
        let ours = format!(":{port:04X}");
        // Local address, remote address, and the state: 06 is TIME_WAIT.
        let sockets = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        let left = sockets.filter(|words| words.get(3) == Some(&"06"));
        let (mut at_server, mut at_client) = (0_u64, 0_u64);
        for words in left {
            at_server += u64::from(words[1].ends_with(&ours));
            at_client += u64::from(words[2].ends_with(&ours));
        }
        (at_server, at_client)
    };
    // Asked for by number, which nobody else has: it is known afterwards.
    let free = TcpListener::bind((V4, 0)).unwrap().local_addr().unwrap().port();
    let shape = Shape::TcpCrr { request: 1, response: 1, port: free };
    let samples = drive(&job(V4, server.port(), shape)).unwrap();
    let (at_server, at_client) = left_by(free);
    assert_eq!(at_client, 0, "{at_server} at the server");
    assert!(at_server > 0 && at_server <= samples.crossed_operations);
}

/// A server that tells where it takes connections, and does `act` with each.
fn calls(act: impl Fn(TcpStream) + Send + 'static) -> (u16, JoinHandle<()>) {
    let taken = TcpListener::bind((V4, 0)).unwrap();
    taken.set_nonblocking(true).unwrap();
    server(move |mut stream| {
        stream.write_all(&taken.local_addr().unwrap().port().to_le_bytes()).unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
        loop {
            if let Ok((call, _)) = taken.accept() {
                call.set_nonblocking(false).unwrap();
                act(call);
            }
            match stream.read(&mut [0]) {
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                _ => break,
            }
        }
    })
}

#[test]
fn connections_that_end_early_or_late_or_answer_rubbish_are_errors() {
    let answer = |call: &mut TcpStream, wrong: u8| {
        let mut byte = [0];
        call.read_exact(&mut byte).unwrap();
        call.write_all(&[byte[0] ^ wrong]).unwrap();
    };
    let long = |port| Job { warmup: Duration::from_secs(60), ..job(V4, port, CRR) };
    let (port, serves) = calls(drop);
    let early = error(&long(port));
    assert!(early.contains("closed the connection during warm-up"), "{early}");
    serves.join().unwrap();

    let (port, serves) = calls(move |mut call| answer(&mut call, 0x55));
    let wrong = error(&long(port));
    assert!(wrong.contains("does not belong to its request"), "{wrong}");
    serves.join().unwrap();

    let (port, serves) = calls(move |mut call| {
        answer(&mut call, 0);
        call.write_all(b"and more").ok();
    });
    let more = error(&long(port));
    assert!(more.contains("does not belong to its request"), "{more}");
    serves.join().unwrap();

    // One that answers and never ends its connections.
    let kept = std::sync::Mutex::new(Vec::new());
    let (port, serves) = calls(move |mut call| {
        answer(&mut call, 0);
        kept.lock().unwrap().push(call);
    });
    let silent = error(&Job { grace: Duration::from_millis(300), ..job(V4, port, CRR) });
    assert!(silent.contains("the server or the path is stuck"), "{silent}");
    serves.join().unwrap();
}

#[test]
fn paced_sends_what_was_intended_over_both_families() {
    for address in [V4, V6] {
        let server = Server::start(address, 0).unwrap();
        for (request, response) in [(1, 1), (3_000, 20_000)] {
            let shape = Shape::TcpRrPaced { request, response, rate: 2_000 };
            let samples = drive(&job(address, server.port(), shape)).unwrap();
            assert_adds_up(&samples, u64::from(request + response));
            assert_eq!(
                samples.moments.count, 160,
                "80 ms at 2000 a second, however slow the machine"
            );
            assert_eq!(samples.crossed_operations, 180);
            let closed = samples.closed_view.unwrap();
            assert_eq!(closed.moments.count + closed.omitted, 160);
            assert_eq!(decoded(&closed.histogram).len(), closed.moments.count);
        }
    }
}

#[test]
fn stream_counts_every_byte_over_both_families() {
    for address in [V4, V6] {
        let server = Server::start(address, 0).unwrap();
        let samples = drive(&job(address, server.port(), Shape::TcpStream)).unwrap();
        assert_eq!((samples.unit, samples.measured_ns), (Unit::BytesPerSecond, 80_000_000));
        assert_eq!((samples.values.len(), samples.windows.len()), (8, 8));
        assert_eq!(samples.moments.count, 8);
        for (value, window) in samples.values.iter().zip(&samples.windows) {
            assert_eq!(*value, window.bytes as f64 * 100.0);
            assert!(window.p50_ns.is_none());
        }
        let counted = samples.windows.iter().map(|window| window.bytes).sum::<u64>();
        assert!(counted > 0 && counted < samples.crossed_bytes);
        assert!(samples.min <= samples.moments.mean && samples.moments.mean <= samples.max);
    }
}

const UDP_RR: Shape = Shape::UdpRr { request: 1, response: 1 };
const UDP_STREAM: Shape = Shape::UdpStream { datagram: 1_472, fragments: false };

#[test]
fn udp_rr_adds_up_over_both_families() {
    for address in [V4, V6] {
        let server = Server::start(address, 0).unwrap();
        // One after the other on one port: the first has let go of it when it ends.
        for (request, response) in [(1, 1), (300, 20_000)] {
            let job = job(address, server.port(), Shape::UdpRr { request, response });
            let samples = drive(&job).unwrap();
            assert_adds_up(&samples, u64::from(request + response));
            let loss = samples.loss.unwrap();
            assert_eq!(loss.sent - loss.lost, samples.crossed_operations);
        }
    }
}

#[test]
fn udp_stream_counts_what_arrived_over_both_families() {
    for address in [V4, V6] {
        let server = Server::start(address, 0).unwrap();
        let samples = drive(&job(address, server.port(), UDP_STREAM)).unwrap();
        assert_eq!((samples.unit, samples.values.len()), (Unit::BytesPerSecond, 8));
        for (value, window) in samples.values.iter().zip(&samples.windows) {
            assert_eq!(*value, window.bytes as f64 * 100.0);
            assert_eq!(window.bytes, window.operations * 1_472);
        }
        let loss = samples.loss.unwrap();
        assert_eq!((loss.sent - loss.lost) * 1_472, samples.crossed_bytes);
        let counted = samples.windows.iter().map(|window| window.bytes).sum::<u64>();
        assert!(counted > 0 && counted < samples.crossed_bytes);
    }
}

#[test]
fn a_datagram_above_the_mtu_is_refused_unless_asked_for() {
    let server = Server::start(V4, 0).unwrap();
    let mtu: u32 =
        std::fs::read_to_string("/sys/class/net/lo/mtu").unwrap().trim().parse().unwrap();
    if mtu >= super::header::MOST_DATAGRAM {
        // Nothing that UDP can carry is above the MTU of this loopback.
        return;
    }
    let shape = |fragments| Shape::UdpStream { datagram: mtu - 27, fragments };
    drive(&job(V4, server.port(), shape(true))).unwrap();
    let error = error(&job(V4, server.port(), shape(false)));
    assert!(error.contains("does not fit the MTU"), "{error}");
}

#[test]
fn icmp_adds_up_over_both_families() {
    for address in [V4, V6] {
        match drive(&job(address, NOBODY, Shape::Icmp { payload: 56 })) {
            Ok(samples) => {
                assert_adds_up(&samples, 56);
                let loss = samples.loss.unwrap();
                assert_eq!(loss.sent - loss.lost, samples.crossed_operations);
            }
            // Who may not open such a socket is told so.
            Err(error) => {
                let error = format!("{error:#}");
                assert!(error.contains("failed to open a socket for echoes"), "{error}");
                assert!(!nix::unistd::geteuid().is_root(), "{error}");
            }
        }
    }
}

/// A server of datagrams that greets, does `act` with the first ones, and ends with the connection.
fn datagrams(
    act: impl Fn(&UdpSocket, u64, &[u8], std::net::SocketAddr) + Send + 'static,
) -> (u16, JoinHandle<()>) {
    let bound = TcpListener::bind((V4, 0)).unwrap();
    let port = bound.local_addr().unwrap().port();
    let udp = UdpSocket::bind((V4, port)).unwrap();
    udp.set_read_timeout(Some(Duration::from_millis(5))).unwrap();
    let serves = thread::spawn(move || {
        let mut stream = bound.accept().unwrap().0;
        stream.read_exact(&mut [0; LENGTH]).unwrap();
        stream.write_all(&MAGIC).unwrap();
        stream.set_nonblocking(true).unwrap();
        let (mut buffer, mut number) = ([0; 2_000], 0);
        loop {
            if let Ok((bytes, from)) = udp.recv_from(&mut buffer) {
                act(&udp, number, &buffer[..bytes], from);
                number += 1;
            }
            match stream.read(&mut [0]) {
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                _ => break,
            }
        }
    });
    (port, serves)
}

#[test]
fn a_lost_datagram_is_counted_and_is_no_latency() {
    // The warm-up is over with the first answer; two of those after it never come.
    let (port, serves) = datagrams(|udp, number, request, from| {
        if number != 3 && number != 7 {
            udp.send_to(request, from).unwrap();
        }
    });
    let windows = 100;
    let job = Job { warmup: Duration::ZERO, windows, ..job(V4, port, UDP_RR) };
    let samples = drive(&job).unwrap();
    serves.join().unwrap();
    let loss = samples.loss.unwrap();
    // A machine that stands still for the patience of a request loses more.
    assert!(loss.lost >= 2, "{loss:?}");
    assert_eq!(samples.moments.count, loss.sent - loss.lost);
    let lost_windows = samples.windows.iter().filter(|window| window.operations == 0).count();
    assert!(lost_windows > 20, "the time of a loss is still time without transactions");
}

#[test]
fn an_answer_that_is_late_is_a_latency_and_no_loss() {
    let held = std::sync::Mutex::new(None);
    let (port, serves) = datagrams(move |udp, number, request, from| {
        let mut held = held.lock().unwrap();
        match number {
            3 => *held = Some(request.to_vec()),
            _ => {
                if let Some(late) = held.take() {
                    udp.send_to(&late, from).unwrap();
                }
                udp.send_to(request, from).unwrap();
            }
        }
    });
    let job = Job { warmup: Duration::ZERO, windows: 60, ..job(V4, port, UDP_RR) };
    let samples = drive(&job).unwrap();
    serves.join().unwrap();
    let loss = samples.loss.unwrap();
    assert_eq!(samples.moments.count, loss.sent - loss.lost);
    assert!(samples.max >= super::beside::PATIENCE.as_nanos() as f64, "{samples:?}");
}

#[test]
fn datagrams_that_answer_rubbish_or_nothing_are_errors() {
    let (port, serves) = datagrams(|udp, _, request, from| {
        udp.send_to(&[request[0] ^ 0x55], from).unwrap();
    });
    let wrong = error(&job(V4, port, UDP_RR));
    assert!(wrong.contains("does not belong to its request"), "{wrong}");
    serves.join().unwrap();

    let (port, serves) = datagrams(|_, _, _, _| {});
    let silent = error(&job(V4, port, UDP_RR));
    assert!(silent.contains("requests were lost"), "{silent}");
    serves.join().unwrap();

    let (port, serves) = datagrams(|_, _, _, _| {});
    let silent = error(&Job { grace: Duration::from_millis(300), ..job(V4, port, UDP_STREAM) });
    assert!(silent.contains("the server or the path is stuck"), "{silent}");
    serves.join().unwrap();
}

#[test]
fn a_server_with_another_socket_that_is_dropped_ends_its_clients() {
    for shape in [UDP_RR, UDP_STREAM, CRR] {
        let server = Server::start(V4, 0).unwrap();
        let port = server.port();
        let client = thread::spawn(move || drive(&Job { windows: 10_000, ..job(V4, port, shape) }));
        while server.connections() == 0 {
            clock::sleep_until(clock::now() + 1_000_000).unwrap();
        }
        drop(server);
        let error = format!("{:#}", client.join().unwrap().unwrap_err());
        assert!(error.contains("closed the connection") || error.contains("greeting"), "{error}");
    }
}

#[test]
fn a_flow_moves_beside_a_job_and_ends() {
    let server = Server::start(V4, 0).unwrap();
    let flow = Flow::start((V4, server.port()).into(), Duration::from_secs(20)).unwrap();
    let before = flow.arrived_bytes().unwrap();
    let samples = drive(&job(V4, server.port(), RR)).unwrap();
    // Nothing of the flow is in the samples.
    assert_adds_up(&samples, 2);
    let after = flow.arrived_bytes().unwrap();
    assert!(before > 0 && after > before && flow.sent_bytes() >= after);
    drop(flow);
    let gone = Flow::start((V4, NOBODY).into(), Duration::from_millis(30)).err().unwrap();
    assert!(format!("{gone:#}").contains("failed to connect"), "{gone:#}");
}

#[test]
fn a_flow_whose_server_ends_says_so() {
    let server = Server::start(V4, 0).unwrap();
    let flow = Flow::start((V4, server.port()).into(), Duration::from_secs(20)).unwrap();
    drop(server);
    let started = Instant::now();
    while flow.arrived_bytes().is_ok() {
        assert!(started.elapsed() < Duration::from_secs(120), "the flow goes on without a server");
        clock::sleep_until(clock::now() + 1_000_000).unwrap();
    }
}

#[test]
fn jobs_share_a_server() {
    let server = Server::start(V4, 0).unwrap();
    let port = server.port();
    let jobs = [RR, PACED, CRR, CRR, Shape::TcpStream, UDP_RR]
        .map(|shape| thread::spawn(move || drive(&job(V4, port, shape))));
    for job in jobs {
        job.join().unwrap().unwrap();
    }
}

#[test]
fn a_job_waits_for_the_port_of_the_last_one() {
    let server = Server::start(V4, 0).unwrap();
    let port = server.port();
    let held = std::net::UdpSocket::bind((V4, port)).unwrap();
    let next = thread::spawn(move || drive(&job(V4, port, UDP_RR)));
    crate::wait::until("the next job", Duration::from_secs(20), || {
        Ok((server.connections() > 0).then_some(()))
    })
    .unwrap();
    drop(held);
    next.join().unwrap().unwrap();
}

/// A server that greets and then does `act`, for one connection.
fn server(act: impl FnOnce(TcpStream) + Send + 'static) -> (u16, JoinHandle<()>) {
    let listener = TcpListener::bind((V4, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let serves = thread::spawn(move || {
        let mut stream = listener.accept().unwrap().0;
        stream.set_nodelay(true).unwrap();
        stream.read_exact(&mut [0; LENGTH]).unwrap();
        stream.write_all(&MAGIC).unwrap();
        act(stream);
    });
    (port, serves)
}

/// Answers one byte by the same; stalls for `stall_ns` before every `every`th answer.
fn echo_with_stalls(mut stream: TcpStream, every: usize, stall_ns: u64) {
    let mut byte = [0];
    for number in 1_usize.. {
        if stream.read_exact(&mut byte).is_err() {
            return;
        }
        if number.is_multiple_of(every) {
            clock::sleep_until(clock::now() + stall_ns).unwrap();
        }
        if stream.write_all(&byte).is_err() {
            return;
        }
    }
}

#[test]
fn a_stall_shows_in_the_open_loop_and_hides_in_the_closed_view() {
    // 10 ms of stall in each 50 ms: a fifth of the requests fall due in one.
    let (port, serves) = server(|stream| echo_with_stalls(stream, 500, 10_000_000));
    let shape = Shape::TcpRrPaced { request: 1, response: 1, rate: 10_000 };
    let samples = drive(&Job { windows: 100, ..job(V4, port, shape) }).unwrap();
    serves.join().unwrap();
    let closed = samples.closed_view.unwrap();
    let open = decoded(samples.histogram.as_deref().unwrap());
    assert!(open.value_at_quantile(0.99) > 5_000_000, "{}", open.value_at_quantile(0.99));
    assert!(closed.omitted > 100, "{}", closed.omitted);
    assert_eq!(closed.moments.count + closed.omitted, samples.moments.count);
    // Of the requests that a stall held up, a closed loop would have sent one.
    let held_up =
        |histogram: &hdrhistogram::Histogram<u64>| histogram.count_between(5_000_000, u64::MAX);
    let (hidden, shown) = (held_up(&decoded(&closed.histogram)), held_up(&open));
    assert!(hidden * 3 < shown, "{hidden} of {shown}");
}

#[test]
fn a_stall_of_a_closed_loop_is_its_maximum() {
    let (port, serves) = server(|stream| echo_with_stalls(stream, 2, 30_000_000));
    let samples = drive(&job(V4, port, RR)).unwrap();
    serves.join().unwrap();
    assert!(samples.max >= 30_000_000.0, "{samples:?}");
    assert_eq!(
        samples.windows.iter().map(|window| window.operations).sum::<u64>(),
        samples.moments.count
    );
    let stalled = samples.windows.iter().filter(|window| window.operations == 0).count();
    assert!(stalled > 0, "a stall of three windows leaves some without transactions");
}

/// The error of a job, which must come before its deadline would.
fn error(job: &Job) -> String {
    let started = Instant::now();
    let error = format!("{:#}", drive(job).unwrap_err());
    assert!(started.elapsed() < Duration::from_secs(15), "{error}");
    assert!(error.contains("127.0.0.1:"), "{error}");
    error
}

#[test]
fn nobody_listening_is_an_error() {
    let grace = Duration::from_millis(30);
    let error = error(&Job { grace, ..job(V4, NOBODY, RR) });
    assert!(error.contains("failed to connect within 30ms"), "{error}");
}

#[test]
fn a_silent_server_is_an_error_at_the_deadline() {
    for shape in [RR, PACED, Shape::TcpStream] {
        let (release, held) = mpsc::channel::<()>();
        let (port, serves) = server(move |stream| {
            // Holds the connection until the client has given up, and neither reads nor answers.
            held.recv().unwrap_err();
            drop(stream);
        });
        let error = error(&Job { grace: Duration::from_millis(300), ..job(V4, port, shape) });
        assert!(error.contains("the server or the path is stuck"), "{error}");
        drop(release);
        serves.join().unwrap();
    }
}

#[test]
fn a_server_that_closes_is_an_error() {
    for shape in [RR, PACED, Shape::TcpStream] {
        let (port, serves) = server(|mut stream| {
            stream.read_exact(&mut [0]).unwrap();
        });
        let error = error(&Job { warmup: Duration::from_secs(10), ..job(V4, port, shape) });
        assert!(error.contains("closed the connection during warm-up"), "{error}");
        serves.join().unwrap();
    }
}

#[test]
fn a_server_that_answers_rubbish_is_an_error() {
    for shape in [RR, PACED] {
        let (port, serves) = server(|mut stream| {
            let mut byte = [0];
            while stream.read_exact(&mut byte).is_ok()
                && stream.write_all(&[byte[0] ^ 0x55]).is_ok()
            {}
        });
        let error = error(&job(V4, port, shape));
        assert!(error.contains("does not belong to its request"), "{error}");
        serves.join().unwrap();
    }
}

#[test]
fn an_account_that_is_rubbish_is_an_error() {
    for (account, expected) in [
        ("rubbish\n", "account cannot be read"),
        ("{\"total_bytes\":1,\"windows\":[]}\n", "1 received"),
    ] {
        let (port, serves) = server(move |mut stream| {
            stream.write_all(b"E").unwrap();
            std::io::copy(&mut stream, &mut std::io::sink()).unwrap();
            stream.write_all(account.as_bytes()).unwrap();
        });
        let error = error(&job(V4, port, Shape::TcpStream));
        assert!(error.contains(expected), "{error}");
        serves.join().unwrap();
    }
}

#[test]
fn somebody_elses_server_is_an_error() {
    let listener = TcpListener::bind((V4, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let serves = thread::spawn(move || {
        let mut stream = listener.accept().unwrap().0;
        stream.write_all(b"SSH-2.0-OpenSSH_9.2\r\n").unwrap();
        std::io::copy(&mut stream, &mut std::io::sink()).ok();
    });
    let error = error(&job(V4, port, RR));
    assert!(error.contains("not an evenkeel server") && error.contains("SSH-2.0-"), "{error}");
    serves.join().unwrap();
}

#[test]
fn jobs_that_make_no_sense_are_refused() {
    let sane = job(V4, NOBODY, RR);
    for job in [
        Job { windows: 0, ..sane.clone() },
        Job { window: Duration::ZERO, ..sane.clone() },
        Job { warmup: Duration::MAX, ..sane.clone() },
        Job { grace: Duration::MAX, ..sane.clone() },
        Job { shape: Shape::TcpRr { request: 0, response: 1 }, ..sane.clone() },
        Job { shape: Shape::TcpRr { request: 1, response: u32::MAX }, ..sane.clone() },
        Job { shape: Shape::TcpCrr { request: 1, response: 0, port: 0 }, ..sane.clone() },
        Job { shape: Shape::UdpRr { request: 1, response: 65_508 }, ..sane.clone() },
        Job { shape: Shape::UdpStream { datagram: 0, fragments: false }, ..sane.clone() },
        Job { shape: Shape::Icmp { payload: 0 }, ..sane.clone() },
        Job { shape: Shape::TcpRrPaced { request: 1, response: 1, rate: 0 }, ..sane },
    ] {
        let error = error(&job);
        assert!(!error.contains("connect"), "refused before anything is sent: {error}");
    }
}

#[test]
fn rubbish_does_not_end_a_server() {
    let server = Server::start(V4, 0).unwrap();
    for rubbish in [&b""[..], b"GET / HTTP/1.1\r\n\r\n", &[0xff; 200]] {
        let mut stream = TcpStream::connect((V4, server.port())).unwrap();
        stream.write_all(rubbish).unwrap();
        let mut answer = Vec::new();
        // The server may have closed already, and with data unread that is a reset.
        stream.shutdown(std::net::Shutdown::Write).ok();
        stream.read_to_end(&mut answer).ok();
        assert!(answer.is_empty());
    }
    drive(&job(V4, server.port(), RR)).unwrap();
}

#[test]
fn a_server_that_is_dropped_ends_its_clients() {
    let server = Server::start(V4, 0).unwrap();
    let port = server.port();
    let client = thread::spawn(move || drive(&Job { windows: 10_000, ..job(V4, port, RR) }));
    // Once a connection is open, somebody measures.
    while server.connections() == 0 {
        clock::sleep_until(clock::now() + 1_000_000).unwrap();
    }
    drop(server);
    let error = format!("{:#}", client.join().unwrap().unwrap_err());
    assert!(error.contains("closed the connection") || error.contains("greeting"), "{error}");
}
