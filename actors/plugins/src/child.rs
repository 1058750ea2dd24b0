//! A child process that exchanges lines with the sandbox: starting it, reading its output, stopping it and reaping it.
//!
//! - The child leads its own process group. Everything it forks is killed with it, and Ctrl-C in a terminal
//!   reaches the sandbox only.
//! - Its standard error is always read, so that the child never blocks on it, and is logged at a limited rate.
//! - If the sandbox itself is killed, the kernel kills the child (on Linux). Processes that the child forked see
//!   end-of-file on their standard input.

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

use crate::environment::environment;
use crate::error::PluginError;
use crate::protocol;

/// Longest line that is read from standard output. A longer one is cut, and then fails to parse as JSON.
const MAX_LINE_BYTES: usize = 64 << 20;
/// Longest line of standard error that is logged; a longer one is cut.
const MAX_LOG_LINE_BYTES: usize = 2000;
/// Lines of standard error, or of stray output, that are logged per [`LOG_WINDOW`].
const MAX_LOG_LINES: u64 = 200;
const LOG_WINDOW: Duration = Duration::from_secs(10);
/// How long to wait, after a child has exited, for the rest of its output and for the processes it forked to be reaped.
const DRAIN_TIME: Duration = Duration::from_secs(2);

/// What the owner of a [`Child`] is notified of.
#[derive(Debug)]
pub enum Event {
    /// The child wrote a protocol message to standard output. Other output is logged instead.
    Line(String),
    /// The child has exited and is reaped. The text completes a sentence about it: `ended with exit status: 1; …`.
    Ended(String),
}

/// A running child process. It is killed when this is dropped.
pub struct Child {
    pid: Pid,
    lines: mpsc::UnboundedSender<String>,
    events: mpsc::Receiver<Event>,
    stray_output: Arc<Mutex<Option<String>>>,
    /// Sends the [`Reaper`] the time that the child has to exit by itself. If dropped, the child is killed at once.
    stop: Option<oneshot::Sender<Duration>>,
    reaper: JoinHandle<()>,
}

impl Child {
    /// Starts the plug-in's program with the variables of [`environment`]. Fails with [`PluginError::Program`] if there
    /// is no such program or a variable is not set, and with [`PluginError::Spawn`] if it can't be started.
    pub async fn spawn(name: &str, plugin: &ProcessPlugin) -> Result<Self, PluginError> {
        let unusable = |problem: String| PluginError::Program { problem };
        let program = plugin.program().map_err(|error| unusable(error.to_string()))?;
        let mut command = Command::new(&program);
        let environment = environment(plugin).map_err(|error| unusable(error.to_string()))?;
        command.args(&plugin.command[1..]).env_clear().envs(environment);
        if !plugin.cwd.as_os_str().is_empty() {
            command.current_dir(&plugin.cwd);
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.process_group(0).kill_on_drop(true);
        let mut process = spawn_on_parent_thread(command)
            .await
            .map_err(|source| PluginError::Spawn { program: program.clone(), problem: source.to_string() })?;
        let Some(pid) = process.id().and_then(|id| Pid::from_raw(id as i32)) else {
            return Err(PluginError::Spawn { program, problem: "it exited immediately".into() });
        };
        let (Some(stdin), Some(stdout), Some(stderr)) =
            (process.stdin.take(), process.stdout.take(), process.stderr.take())
        else {
            unreachable!("all three are piped");
        };
        let (lines, to_write) = mpsc::unbounded_channel();
        tokio::spawn(write_stdin(stdin, to_write));
        let log = Log::new(name, pid);
        let last_stderr_line = log.last.clone();
        let stderr = tokio::spawn(log_stderr(stderr, log));
        let stray_output = Arc::new(Mutex::new(None));
        // The small capacity makes a child that writes without being asked block, instead of filling the memory.
        let (event_sender, events) = mpsc::channel(16);
        let stdout = tokio::spawn(read_stdout(
            stdout,
            event_sender.clone(),
            Log::new(name, pid),
            stray_output.clone(),
        ));
        let (stop, stop_requested) = oneshot::channel();
        let reaper = Reaper {
            group: ProcessGroup { leader: pid, reaped: false },
            process,
            stdout,
            stderr,
            last_stderr_line,
            events: event_sender,
        };
        let reaper = tokio::spawn(reaper.run(stop_requested));
        Ok(Child { pid, lines, events, stray_output, stop: Some(stop), reaper })
    }

    pub fn pid(&self) -> i32 {
        self.pid.as_raw_nonzero().get()
    }

    /// Queues a line for standard input. If the child has exited, [`Child::next_event`] reports it.
    pub fn send(&self, line: String) {
        let _ = self.lines.send(line);
    }

    /// Waits for the child's next message, or for its end.
    pub async fn next_event(&mut self) -> Event {
        self.events.recv().await.unwrap_or_else(|| Event::Ended("ended".into()))
    }

    /// The last line on standard output that was no protocol message, since the last call.
    pub fn take_stray_output(&self) -> Option<String> {
        self.stray_output.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Closes the child's standard input, kills the child if it still runs after `grace`, and waits until it is reaped.
    pub async fn stop(mut self, grace: Duration) {
        // Dropping the sender ends the writer task, which closes standard input.
        drop(std::mem::replace(&mut self.lines, mpsc::unbounded_channel().0));
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(grace);
        }
        self.events.close();
        let _ = (&mut self.reaper).await;
    }
}

/// The process group that a child leads. It is killed when this is dropped.
struct ProcessGroup {
    leader: Pid,
    /// Once the group is reaped, the kernel may reuse its number, so it must not be killed any more.
    reaped: bool,
}

impl ProcessGroup {
    fn kill(&self) {
        // Fails if the group has no processes left, which is what is wanted.
        let _ = kill_process_group(self.leader, Signal::KILL);
    }

    /// Reaps the members of the group that were reparented to the sandbox when their parent died.
    async fn reap(&mut self) {
        let started = Instant::now();
        while started.elapsed() < DRAIN_TIME {
            match waitpgid(self.leader, WaitOptions::NOHANG) {
                Ok(Some(_)) => {}
                Ok(None) => tokio::time::sleep(Duration::from_millis(2)).await,
                // No members are left.
                Err(_) => break,
            }
        }
        self.reaped = true;
    }
}

impl Drop for ProcessGroup {
    fn drop(&mut self) {
        if !self.reaped {
            self.kill();
        }
    }
}

/// Waits until a child exits, or stops it on request, then reaps its process group and reports the end.
struct Reaper {
    group: ProcessGroup,
    process: tokio::process::Child,
    stdout: JoinHandle<()>,
    stderr: JoinHandle<()>,
    last_stderr_line: Arc<Mutex<String>>,
    events: mpsc::Sender<Event>,
}

impl Reaper {
    async fn run(mut self, stop_requested: oneshot::Receiver<Duration>) {
        let status = tokio::select! {
            status = self.process.wait() => status,
            grace = stop_requested => {
                match tokio::time::timeout(grace.unwrap_or_default(), self.process.wait()).await {
                    Ok(status) => status,
                    Err(_) => {
                        self.group.kill();
                        self.process.wait().await
                    }
                }
            }
        };
        self.reap().await;
        let last_line = self.last_stderr_line.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let _ = self.events.send(Event::Ended(how_it_ended(status, &last_line))).await;
    }

    /// Kills and reaps what the child forked, and reads the rest of the child's output.
    async fn reap(&mut self) {
        self.group.kill();
        self.group.reap().await;
        for task in [self.stderr.abort_handle(), self.stdout.abort_handle()] {
            let started = Instant::now();
            // A process that left the group can hold the pipe open forever, so the wait is bounded.
            while !task.is_finished() && started.elapsed() < DRAIN_TIME {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            task.abort();
        }
    }
}

fn how_it_ended(status: std::io::Result<ExitStatus>, last_stderr_line: &str) -> String {
    let how = match status {
        Ok(status) => format!("ended with {status}"),
        Err(error) => format!("ended ({error})"),
    };
    if last_stderr_line.is_empty() {
        how
    } else {
        format!("{how}; its last line on standard error: {}", protocol::quote(last_stderr_line))
    }
}

async fn write_stdin(mut stdin: ChildStdin, mut lines: mpsc::UnboundedReceiver<String>) {
    while let Some(mut line) = lines.recv().await {
        line.push('\n');
        // A child that no longer reads either exits or misses its time limit; both are reported elsewhere.
        if stdin.write_all(line.as_bytes()).await.is_err() || stdin.flush().await.is_err() {
            return;
        }
    }
}

/// Forwards protocol messages as events and logs all other lines.
async fn read_stdout(
    stdout: ChildStdout,
    events: mpsc::Sender<Event>,
    mut log: Log,
    stray_output: Arc<Mutex<Option<String>>>,
) {
    let mut stdout = BufReader::new(stdout);
    while let Some((line, _)) = next_line(&mut stdout, MAX_LINE_BYTES).await {
        if protocol::is_message(&line) {
            if events.send(Event::Line(line)).await.is_err() {
                return;
            }
        } else if !line.is_empty() {
            let line = protocol::quote(&line);
            log.write(&format!("(on standard output, where only JSON lines belong) {line}"));
            *stray_output.lock().unwrap_or_else(PoisonError::into_inner) = Some(line);
        }
    }
}

async fn log_stderr(stderr: ChildStderr, mut log: Log) {
    let mut stderr = BufReader::new(stderr);
    while let Some((line, whole)) = next_line(&mut stderr, MAX_LOG_LINE_BYTES).await {
        if !line.is_empty() {
            log.write(&if whole { line } else { line + "…" });
        }
    }
}

/// Reads a line and trims it. A line longer than `longest` bytes is cut; the flag tells whether it is complete. Returns
/// `None` at the end of the stream or if reading fails.
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

/// Writes a child's output, other than protocol messages, to the log at a limited rate.
struct Log {
    name: String,
    pid: i32,
    /// The last line written, also if the rate limit kept it out of the log.
    last: Arc<Mutex<String>>,
    window: Instant,
    /// Lines written since `window` began, including those omitted.
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
            self.report_omitted();
            (self.window, self.lines) = (Instant::now(), 0);
        }
        self.lines += 1;
        if self.lines <= MAX_LOG_LINES {
            tracing::info!(target: "plugin", reward = %self.name, pid = self.pid, "{line}");
        }
    }

    fn report_omitted(&self) {
        let omitted = self.lines.saturating_sub(MAX_LOG_LINES);
        if omitted > 0 {
            tracing::info!(target: "plugin", reward = %self.name, pid = self.pid, "({omitted} lines omitted)");
        }
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.report_omitted();
    }
}

/// A command to start, the runtime that polls the child, and where to return the child.
type SpawnRequest =
    (Command, tokio::runtime::Handle, oneshot::Sender<std::io::Result<tokio::process::Child>>);

/// Starts a child from one dedicated thread that lives as long as the sandbox. On Linux, the death signal set by
/// [`kill_with_parent`] is sent when the thread that started the child ends, not the process. A thread of the async
/// runtime may end at any time, so it must not be the one.
async fn spawn_on_parent_thread(mut command: Command) -> std::io::Result<tokio::process::Child> {
    static PARENT: Mutex<Option<std_mpsc::Sender<SpawnRequest>>> = Mutex::new(None);
    kill_with_parent(&mut command);
    let (reply, started) = oneshot::channel();
    {
        let mut parent = PARENT.lock().unwrap_or_else(PoisonError::into_inner);
        let sender = match &*parent {
            Some(sender) => sender,
            None => parent.insert(start_parent_thread()?),
        };
        if sender.send((command, tokio::runtime::Handle::current(), reply)).is_err() {
            *parent = None;
            return Err(std::io::Error::other("the thread that starts children has ended; try again"));
        }
    }
    started.await.unwrap_or_else(|_| Err(std::io::Error::other("the thread that starts children failed")))
}

fn start_parent_thread() -> std::io::Result<std_mpsc::Sender<SpawnRequest>> {
    // As a subreaper the sandbox, and not process 1, becomes the parent of what a child leaves behind, and can reap it.
    #[cfg(target_os = "linux")]
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    let (sender, requests) = std_mpsc::channel::<SpawnRequest>();
    std::thread::Builder::new().name("plugin-parent".into()).spawn(move || {
        for (mut command, runtime, reply) in requests {
            let _inside = runtime.enter();
            // If the caller has gone, the child is dropped here and thereby killed (`kill_on_drop`).
            let _ = reply.send(command.spawn());
        }
    })?;
    Ok(sender)
}

#[cfg(target_os = "linux")]
#[expect(
    unsafe_code,
    reason = "between fork and exec only one system call is made, which is async-signal-safe"
)]
fn kill_with_parent(command: &mut Command) {
    let ask = || Ok(rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?);
    unsafe {
        command.pre_exec(ask);
    }
}

#[cfg(not(target_os = "linux"))]
fn kill_with_parent(_: &mut Command) {}
