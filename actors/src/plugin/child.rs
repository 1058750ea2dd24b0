//! A child process with lines in and out: how it is started, listened to, ended and buried.
//!
//! - It leads a process group of its own, so that what it forked goes with it, and Ctrl-C in a terminal is ours alone.
//! - Its standard error goes to the log, never faster than a person could want; it is always read, so that a child is
//!   never held up by it.
//! - Where the sandbox is killed outright, the kernel kills the child (Linux); others see their standard input end.

use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError, mpsc as std_mpsc};
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitOptions, kill_process_group, waitpgid};
use scenarios::ProcessPlugin;
use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::protocol;

/// A longer line on standard output is cut, and so is no answer.
const LONGEST_LINE: usize = 64 << 20;
/// A longer line on standard error is cut.
const LONGEST_LOG_LINE: usize = 2000;
/// Lines of standard error and noise logged within [`LOG_WINDOW`].
const LOG_LINES: u64 = 200;
const LOG_WINDOW: Duration = Duration::from_secs(10);
/// Longest wait for the last of what a child wrote, and for what it forked to be gone, after its end.
const LAST_OF_IT: Duration = Duration::from_secs(2);

/// What a child does.
#[derive(Debug)]
pub enum Event {
    /// It wrote a line that is addressed to us.
    Line(String),
    /// It ended; how.
    Ended(String),
}

/// A running child. Dropped, it is killed.
pub struct Child {
    pid: Pid,
    lines: mpsc::UnboundedSender<String>,
    events: mpsc::Receiver<Event>,
    noise: Arc<Mutex<Option<String>>>,
    /// Told how long the child may take to leave by itself; dropped, not at all.
    end: Option<oneshot::Sender<Duration>>,
    keeper: JoinHandle<()>,
}

impl Child {
    /// Starts `plugin`'s program.
    ///
    /// # Errors
    /// One line: it could not be started.
    pub async fn spawn(name: &str, plugin: &ProcessPlugin) -> Result<Self, String> {
        let program = plugin.program().map_err(|error| error.to_string())?;
        let mut command = Command::new(&program);
        command.args(&plugin.command[1..]).envs(&plugin.env);
        if !plugin.cwd.as_os_str().is_empty() {
            command.current_dir(&plugin.cwd);
        }
        let module = scenarios::python_module().map_err(|error| error.to_string())?;
        let own = plugin.env.get("PYTHONPATH").map(Into::into).or_else(|| std::env::var_os("PYTHONPATH"));
        let paths = std::env::split_paths(own.as_deref().unwrap_or_default())
            .filter(|path| !path.as_os_str().is_empty());
        if let Ok(paths) = std::env::join_paths(paths.chain([module])) {
            command.env("PYTHONPATH", paths);
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.process_group(0).kill_on_drop(true);
        let mut process = spawn(command)
            .await
            .map_err(|error| format!("{} could not be started: {error}", program.display()))?;
        let pid = process.id().and_then(|id| Pid::from_raw(id as i32)).ok_or("it ended before it began")?;
        let (Some(stdin), Some(stdout), Some(stderr)) =
            (process.stdin.take(), process.stdout.take(), process.stderr.take())
        else {
            unreachable!("all three are piped");
        };
        let (lines, to_write) = mpsc::unbounded_channel();
        tokio::spawn(write(stdin, to_write));
        let log = Log::new(name, pid);
        let said_last = log.last.clone();
        let stderr = tokio::spawn(log_lines(stderr, log));
        let noise = Arc::new(Mutex::new(None));
        // Few, so that a child that talks without being asked is held up instead of filling the memory.
        let (tell, events) = mpsc::channel(16);
        let stdout = tokio::spawn(listen(stdout, tell.clone(), Log::new(name, pid), noise.clone()));
        let (end, ending) = oneshot::channel();
        let keeper =
            Keeper { group: Group { leader: pid, buried: false }, process, stdout, stderr, said_last, tell };
        let keeper = tokio::spawn(keeper.keep(ending));
        Ok(Child { pid, lines, events, noise, end: Some(end), keeper })
    }

    /// Its process id.
    pub fn pid(&self) -> i32 {
        self.pid.as_raw_nonzero().get()
    }

    /// Sends a line; a child that has ended says so in its events.
    pub fn send(&self, line: String) {
        let _ = self.lines.send(line);
    }

    /// What it does next.
    pub async fn next(&mut self) -> Event {
        self.events.recv().await.unwrap_or_else(|| Event::Ended("ended".into()))
    }

    /// The last thing that it wrote to standard output and that was not for us, since this was last asked.
    pub fn noise(&self) -> Option<String> {
        self.noise.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Ends it: its standard input ends, and `grace` later it is killed. Returns when it is buried.
    pub async fn end(mut self, grace: Duration) {
        // The writer ends with the channel, and standard input with the writer.
        drop(std::mem::replace(&mut self.lines, mpsc::unbounded_channel().0));
        if let Some(end) = self.end.take() {
            let _ = end.send(grace);
        }
        self.events.close();
        let _ = (&mut self.keeper).await;
    }
}

/// A process group, killed when this is dropped.
struct Group {
    leader: Pid,
    /// Its number may mean another group by now.
    buried: bool,
}

impl Group {
    fn kill(&self) {
        // It may have gone already.
        let _ = kill_process_group(self.leader, Signal::KILL);
    }

    /// Buries those of the group that became ours when their parent died.
    async fn reap(&mut self) {
        let started = Instant::now();
        while started.elapsed() < LAST_OF_IT {
            match waitpgid(self.leader, WaitOptions::NOHANG) {
                Ok(Some(_)) => {}
                Ok(None) => tokio::time::sleep(Duration::from_millis(2)).await,
                // No more of them.
                Err(_) => break,
            }
        }
        self.buried = true;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if !self.buried {
            self.kill();
        }
    }
}

/// Waits for a child's end, or brings it about.
struct Keeper {
    group: Group,
    process: tokio::process::Child,
    stdout: JoinHandle<()>,
    stderr: JoinHandle<()>,
    said_last: Arc<Mutex<String>>,
    tell: mpsc::Sender<Event>,
}

impl Keeper {
    async fn keep(mut self, ending: oneshot::Receiver<Duration>) {
        let status = tokio::select! {
            status = self.process.wait() => status,
            grace = ending => match tokio::time::timeout(grace.unwrap_or_default(), self.process.wait()).await {
                Ok(status) => status,
                Err(_) => {
                    self.group.kill();
                    self.process.wait().await
                }
            },
        };
        self.bury().await;
        let said = self.said_last.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let _ = self.tell.send(Event::Ended(how_it_ended(status, &said))).await;
    }

    /// Kills what the child left behind and hears out what it still had to say.
    async fn bury(&mut self) {
        self.group.kill();
        self.group.reap().await;
        for task in [self.stderr.abort_handle(), self.stdout.abort_handle()] {
            let started = Instant::now();
            // A process that left the group may hold the pipe open for good.
            while !task.is_finished() && started.elapsed() < LAST_OF_IT {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            task.abort();
        }
    }
}

fn how_it_ended(status: std::io::Result<ExitStatus>, said: &str) -> String {
    let how = match status {
        Ok(status) => format!("ended with {status}"),
        Err(error) => format!("ended ({error})"),
    };
    if said.is_empty() { how } else { format!("{how}; it last said: {}", protocol::quote(said)) }
}

async fn write(mut stdin: ChildStdin, mut lines: mpsc::UnboundedReceiver<String>) {
    while let Some(mut line) = lines.recv().await {
        line.push('\n');
        // A child that reads no more will end or run out of time; either is told elsewhere.
        if stdin.write_all(line.as_bytes()).await.is_err() || stdin.flush().await.is_err() {
            return;
        }
    }
}

/// Passes on the lines addressed to us and logs the others.
async fn listen(
    stdout: ChildStdout,
    tell: mpsc::Sender<Event>,
    mut log: Log,
    noise: Arc<Mutex<Option<String>>>,
) {
    let mut stdout = BufReader::new(stdout);
    while let Some((line, _)) = next_line(&mut stdout, LONGEST_LINE).await {
        if protocol::is_addressed(&line) {
            if tell.send(Event::Line(line)).await.is_err() {
                return;
            }
        } else if !line.is_empty() {
            let line = protocol::quote(&line);
            log.write(&format!("(on standard output, where only JSON lines belong) {line}"));
            *noise.lock().unwrap_or_else(PoisonError::into_inner) = Some(line);
        }
    }
}

async fn log_lines(stderr: ChildStderr, mut log: Log) {
    let mut stderr = BufReader::new(stderr);
    while let Some((line, whole)) = next_line(&mut stderr, LONGEST_LOG_LINE).await {
        if !line.is_empty() {
            log.write(&if whole { line } else { line + "…" });
        }
    }
}

/// The next line, trimmed and cut to `longest` bytes, and whether it was whole; `None` at the end.
async fn next_line(from: &mut (impl AsyncBufRead + Unpin), longest: usize) -> Option<(String, bool)> {
    let (mut line, mut whole, mut any) = (Vec::new(), true, false);
    loop {
        let chunk = from.fill_buf().await.ok()?;
        if chunk.is_empty() {
            break;
        }
        any = true;
        let end = chunk.iter().position(|&byte| byte == b'\n');
        let part = &chunk[..end.unwrap_or(chunk.len())];
        let room = longest.saturating_sub(line.len());
        line.extend_from_slice(&part[..part.len().min(room)]);
        whole &= part.len() <= room;
        let used = end.map_or(chunk.len(), |end| end + 1);
        from.consume(used);
        if end.is_some() {
            break;
        }
    }
    any.then(|| (String::from_utf8_lossy(&line).trim().to_owned(), whole))
}

/// What a child says besides its answers, on its way into the log.
struct Log {
    name: String,
    pid: i32,
    /// The last line of standard error.
    last: Arc<Mutex<String>>,
    window: Instant,
    lines: u64,
}

impl Log {
    fn new(name: &str, pid: Pid) -> Self {
        let pid = pid.as_raw_nonzero().get();
        Log { name: name.to_owned(), pid, last: Arc::default(), window: Instant::now(), lines: 0 }
    }

    fn write(&mut self, line: &str) {
        line.clone_into(&mut self.last.lock().unwrap_or_else(PoisonError::into_inner));
        if self.window.elapsed() > LOG_WINDOW {
            self.leave_out();
            (self.window, self.lines) = (Instant::now(), 0);
        }
        self.lines += 1;
        if self.lines <= LOG_LINES {
            tracing::info!(target: "plugin", reward = %self.name, pid = self.pid, "{line}");
        }
    }

    fn leave_out(&self) {
        let left_out = self.lines.saturating_sub(LOG_LINES);
        if left_out > 0 {
            tracing::info!(target: "plugin", reward = %self.name, pid = self.pid, "({left_out} lines left out)");
        }
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.leave_out();
    }
}

/// A command to start, the runtime that will look after it, and where the child goes.
type Start = (Command, tokio::runtime::Handle, oneshot::Sender<std::io::Result<tokio::process::Child>>);

/// Starts children from a thread that lives as long as the sandbox: the kernel ends a child with the thread that started
/// it, and those of the runtime come and go.
async fn spawn(mut command: Command) -> std::io::Result<tokio::process::Child> {
    static PARENT: Mutex<Option<std_mpsc::Sender<Start>>> = Mutex::new(None);
    end_with_the_parent(&mut command);
    let (reply, started) = oneshot::channel();
    {
        let mut parent = PARENT.lock().unwrap_or_else(PoisonError::into_inner);
        let sender = match &*parent {
            Some(sender) => sender,
            None => parent.insert(parent_thread()?),
        };
        if sender.send((command, tokio::runtime::Handle::current(), reply)).is_err() {
            *parent = None;
            return Err(std::io::Error::other("the thread that starts children has ended; try again"));
        }
    }
    started.await.unwrap_or_else(|_| Err(std::io::Error::other("the thread that starts children failed")))
}

fn parent_thread() -> std::io::Result<std_mpsc::Sender<Start>> {
    // What a child forked becomes ours when the child dies, so that it can be buried whoever is process 1 here.
    #[cfg(target_os = "linux")]
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    let (sender, starts) = std_mpsc::channel::<Start>();
    std::thread::Builder::new().name("plugin-parent".into()).spawn(move || {
        for (mut command, runtime, reply) in starts {
            let _inside = runtime.enter();
            // Whoever asked may have gone; the child is killed then, see `kill_on_drop`.
            let _ = reply.send(command.spawn());
        }
    })?;
    Ok(sender)
}

#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "what runs between fork and exec is one system call, which is allowed there")]
fn end_with_the_parent(command: &mut Command) {
    let ask = || Ok(rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?);
    unsafe {
        command.pre_exec(ask);
    }
}

#[cfg(not(target_os = "linux"))]
fn end_with_the_parent(_: &mut Command) {}
