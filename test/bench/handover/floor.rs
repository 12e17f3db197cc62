//! What the kernel alone takes to hand a lone datagram over: a program that does nothing but answer, and one that does nothing but pass on
//! what comes to it by a Unix datagram, as workers do. Each blocks in its one system call; there is no event loop, no QUIC and no check.
//! Prints microseconds of CPU per hand-over, both ends: what they take together less what the answering one takes alone.

use std::env;
use std::fs;
use std::io::{self, BufRead, BufReader};
use std::net::UdpSocket;
use std::os::unix::net::UnixDatagram;
use std::process::{Child, Command, Stdio, exit};
use std::thread;
use std::time::Duration;

const ROUNDS: usize = 11;
const DATAGRAMS: usize = 4_000;
/// Of the client's port, in front of what is passed on.
const HEAD: usize = 2;
const HOST: &str = "127.0.0.1";

/// A program of its own, found under the port that it has printed.
struct Peer {
    process: Child,
    port: u16,
}

impl Peer {
    /// On those cores, a list as taskset reads it.
    fn start(cores: &str, arguments: &[&str]) -> io::Result<Self> {
        let program = env::current_exe()?;
        let mut process =
            Command::new("taskset").args(["--cpu-list", cores]).arg(program).args(arguments).stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        if let Some(out) = process.stdout.take() {
            BufReader::new(out).read_line(&mut line)?;
        }
        let port = line.trim().parse().map_err(io::Error::other)?;
        Ok(Peer { process, port })
    }

    /// Microseconds on a CPU so far, all threads.
    fn cpu(&self) -> io::Result<f64> {
        let mut sum = 0.0;
        for task in fs::read_dir(format!("/proc/{}/task", self.process.id()))? {
            let text = fs::read_to_string(task?.path().join("schedstat"))?;
            let nanoseconds = text.split(' ').next().and_then(|n| n.parse::<f64>().ok());
            sum += nanoseconds.ok_or_else(|| io::Error::other("no schedstat"))? / 1_000.0;
        }
        Ok(sum)
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn open() -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind((HOST, 0))?;
    println!("{}", socket.local_addr()?.port());
    Ok(socket)
}

fn answer(path: &str) -> io::Result<()> {
    let handed = UnixDatagram::bind(path)?;
    let socket = open()?;
    let direct = socket.try_clone()?;
    thread::spawn(move || -> io::Result<()> {
        let mut memory = [0; 2048];
        loop {
            let (length, from) = direct.recv_from(&mut memory)?;
            direct.send_to(&memory[..length], from)?;
        }
    });
    let mut memory = [0; 2048];
    loop {
        let length = handed.recv(&mut memory)?;
        let port = u16::from_be_bytes([memory[0], memory[1]]);
        socket.send_to(&memory[HEAD..length], (HOST, port))?;
    }
}

fn pass_on(path: &str) -> io::Result<()> {
    let owner = UnixDatagram::unbound()?;
    owner.connect(path)?;
    let socket = open()?;
    let mut memory = [0; 2048];
    loop {
        let (length, from) = socket.recv_from(&mut memory[HEAD..])?;
        memory[..HEAD].copy_from_slice(&from.port().to_be_bytes());
        owner.send(&memory[..HEAD + length])?;
    }
}

/// CPU of the peers for each datagram that is sent to the first, one at a time.
fn measure(peers: &[&Peer]) -> io::Result<f64> {
    let client = UdpSocket::bind((HOST, 0))?;
    client.set_read_timeout(Some(Duration::from_secs(5)))?;
    let cpu = || peers.iter().map(|p| p.cpu()).sum::<io::Result<f64>>();
    let before = cpu()?;
    let mut memory = [0; 2048];
    for _ in 0..DATAGRAMS {
        client.send_to(&[0; 100], (HOST, peers[0].port))?;
        client.recv(&mut memory)?;
    }
    Ok((cpu()? - before) / DATAGRAMS as f64)
}

fn compare(folder: &str, cores: &str) -> io::Result<()> {
    let path = format!("{folder}/floor");
    let owner = Peer::start(cores, &["answer", &path])?;
    let other = Peer::start(cores, &["pass-on", &path])?;
    let mut each = Vec::new();
    for _ in 0..ROUNDS {
        let alone = measure(&[&owner])?;
        each.push(measure(&[&other, &owner])? - alone);
    }
    fs::remove_file(&path)?;
    let list: Vec<String> = each.iter().map(|n| format!("{n:.1}")).collect();
    each.sort_by(f64::total_cmp);
    println!("{:.1} us each ({})", each[ROUNDS / 2], list.join(" "));
    Ok(())
}

fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let done = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["answer", path] => answer(path),
        ["pass-on", path] => pass_on(path),
        [folder, cores] => compare(folder, cores),
        _ => Err(io::Error::other("a folder is wanted, in which a socket may be made, and the cores of both programs")),
    };
    if let Err(e) = done {
        eprintln!("{e}");
        exit(1);
    }
}
